-- Remember when a file's rows were loaded again.
update hl.export_file set restored_at = %(now)s where file = %(file)s

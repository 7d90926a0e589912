-- Drop the rows that stand in these files; null when done, else why nothing was changed.
select hl.drop_exported(%(relation)s, %(month)s, %(files)s, %(now)s)

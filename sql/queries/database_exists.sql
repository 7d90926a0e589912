-- Is there a database of this name on the server?
select 1 from pg_database where datname = %(name)s

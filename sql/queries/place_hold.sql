-- Is the session that holds a place still there?
select true

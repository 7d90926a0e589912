-- Is the session that holds the stream's place still there?
select true

-- Empties the stream's staging table of the session's last batch, landed or not.
truncate pg_temp.staging_stream

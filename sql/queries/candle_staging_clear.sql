-- Empties the staging table of the session's last answer, landed or not.
truncate pg_temp.staging_candle

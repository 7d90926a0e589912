-- Empties the staging table, so that one transaction can land several answers.
truncate pg_temp.staging_candle

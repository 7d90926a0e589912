-- Take a file's candles in.
copy pg_temp.staging_restore_candle from stdin

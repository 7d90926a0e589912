-- Takes an answer's rows in, decimals as sent.
copy pg_temp.staging_candle (open_ms, open, high, low, close, volume, trades) from stdin

-- Lets nobody write candles until the transaction ends.
lock table hl.candle in share row exclusive mode

-- Hypertables where TimescaleDB is loaded (shared_preload_libraries), plain tables otherwise. Compression and retention
-- are of its 'timescale' licence: the Apache edition of Debian has neither.
-- A chunk is 28 days: 2,688 bars of 15 minutes for each symbol, so that an index stays in memory at 1,000 symbols.
-- Where TimescaleDB comes later, see docs: the same create_hypertable with migrate_data => true.
DO $$
DECLARE
    ext text; -- the schema of its functions
    t text;
    licence text;
BEGIN
    -- Its loader's own setting: shared_preload_libraries is not for everybody to read
    IF current_setting('timescaledb.disable_load', true) IS DISTINCT FROM 'off' THEN
        RETURN;
    END IF;
    IF NOT EXISTS (SELECT FROM pg_extension WHERE extname = 'timescaledb') THEN
        BEGIN
            CREATE EXTENSION timescaledb SCHEMA public;
        EXCEPTION WHEN insufficient_privilege THEN
            RAISE NOTICE 'timescaledb: no right to create the extension: plain tables';
            RETURN;
        END;
    END IF;
    SELECT quote_ident(n.nspname) INTO ext
      FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace WHERE e.extname = 'timescaledb';
    licence := current_setting('timescaledb.license', true);
    FOREACH t IN ARRAY ARRAY['l2flow.l2_snapshots', 'l2flow.ohlcv'] LOOP
        -- no index of its own on bar_time: readers ask by key
        EXECUTE format('SELECT %s.create_hypertable(%L::regclass, ''bar_time'', chunk_time_interval => interval ''28 days'','
                       ' create_default_indexes => false, if_not_exists => true, migrate_data => true)', ext, t);
        IF licence = 'timescale' THEN
            EXECUTE format('ALTER TABLE %s SET (timescaledb.compress, timescaledb.compress_segmentby ='
                           ' ''exchange, symbol, bar_seconds'', timescaledb.compress_orderby = ''bar_time'')', t);
            EXECUTE format('SELECT %s.add_compression_policy(%L::regclass, interval ''60 days'', if_not_exists => true)', ext, t);
            -- 1,096 days: three years of training and validation
            EXECUTE format('SELECT %s.add_retention_policy(%L::regclass, interval ''1096 days'', if_not_exists => true)', ext, t);
        END IF;
    END LOOP;
END $$;

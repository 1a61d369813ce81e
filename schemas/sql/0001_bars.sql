-- The archive of bars: l2flow.l2_snapshots (the un-purged L2 row of a bar, one for each schema_version) and l2flow.ohlcv
-- (candles). Columns are those of schemas/l2_bar.avsc and schemas/candle.avsc, by the same names; `resume` is flattened.
-- Run by pgc_migrate in one transaction; needs CREATEROLE, CREATE on the database, and for CREATE EXTENSION the rights
-- that the extension asks for (without them, or where TimescaleDB is not loaded, these are plain tables).

-- ---- group roles, of the whole cluster: other databases may have made them already
DO $$
DECLARE
    r text;
BEGIN
    FOREACH r IN ARRAY ARRAY['l2flow_owner', 'l2flow_archiver', 'l2flow_reader'] LOOP
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = r) THEN
            BEGIN
                EXECUTE format('CREATE ROLE %I NOLOGIN', r);
            EXCEPTION WHEN duplicate_object OR unique_violation THEN
                NULL; -- another database's migration, at this moment
            END;
        END IF;
    END LOOP;
    IF NOT pg_has_role(current_user, 'l2flow_owner', 'MEMBER') THEN
        EXECUTE format('GRANT l2flow_owner TO %I', current_user); -- to hand the tables over
    END IF;
    EXECUTE format('GRANT CONNECT ON DATABASE %I TO l2flow_owner, l2flow_archiver, l2flow_reader', current_database());
    EXECUTE format('GRANT CREATE, TEMPORARY ON DATABASE %I TO l2flow_owner', current_database());
    EXECUTE format('GRANT TEMPORARY ON DATABASE %I TO l2flow_archiver', current_database());
END $$;

ALTER SCHEMA l2flow OWNER TO l2flow_owner;
ALTER TABLE l2flow.schema_migrations OWNER TO l2flow_owner;

-- ---- tables. COLLATE "C": an order that no operating system's update changes under an index
CREATE TABLE l2flow.l2_snapshots (
    exchange text COLLATE "C" NOT NULL CHECK (octet_length(exchange) BETWEEN 1 AND 32),
    symbol text COLLATE "C" NOT NULL CHECK (octet_length(symbol) BETWEEN 1 AND 32),
    bar_seconds integer NOT NULL CHECK (bar_seconds > 0),
    bar_time timestamptz NOT NULL,
    schema_version text COLLATE "C" NOT NULL CHECK (octet_length(schema_version) BETWEEN 1 AND 64),
    mid_price double precision,
    spread_bps double precision,
    depth_imbalance_l1 double precision,
    depth_imbalance_l5 double precision,
    ofi_15m double precision,
    kyle_lambda double precision,
    snapshots bigint NOT NULL,
    gaps bigint NOT NULL,
    coverage double precision NOT NULL,
    spread_sketch bytea NOT NULL CHECK (octet_length(spread_sketch) <= 8192),
    last_event_time timestamptz,
    closed_by text COLLATE "C" NOT NULL CHECK (closed_by IN ('event', 'clock')),
    source_partition integer NOT NULL,
    source_offset bigint NOT NULL,
    resume_epoch bigint NOT NULL,
    resume_sequence bigint NOT NULL,
    resume_last_event_time timestamptz NOT NULL,
    resume_last_kafka_time timestamptz NOT NULL,
    archived_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (exchange, symbol, bar_seconds, bar_time, schema_version)
);
CREATE TABLE l2flow.ohlcv (
    exchange text COLLATE "C" NOT NULL CHECK (octet_length(exchange) BETWEEN 1 AND 32),
    symbol text COLLATE "C" NOT NULL CHECK (octet_length(symbol) BETWEEN 1 AND 32),
    bar_seconds integer NOT NULL CHECK (bar_seconds > 0),
    bar_time timestamptz NOT NULL,
    open double precision NOT NULL,
    high double precision NOT NULL,
    low double precision NOT NULL,
    close double precision NOT NULL,
    base_volume double precision NOT NULL,
    quote_volume double precision,
    taker_buy_base double precision,
    taker_buy_quote double precision,
    trade_count bigint,
    archived_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (exchange, symbol, bar_seconds, bar_time)
);
COMMENT ON TABLE l2flow.l2_snapshots IS
    'Order-book row of a bar, un-purged: always filter on schema_version. Never updated: recomputed history takes a new one.';
COMMENT ON TABLE l2flow.ohlcv IS 'Candles of trades. Never updated.';
COMMENT ON COLUMN l2flow.l2_snapshots.bar_time IS 'the bar''s opening; the row is known at bar_time + bar_seconds';
COMMENT ON COLUMN l2flow.ohlcv.bar_time IS 'the bar''s opening; the row is known at bar_time + bar_seconds';
COMMENT ON COLUMN l2flow.l2_snapshots.resume_sequence IS 'resume_*: where the symbol''s stream stood at the close';

-- ---- a bar's values never change, whoever asks
CREATE FUNCTION l2flow.refuse_update() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RAISE EXCEPTION 'rows of % are never updated', TG_TABLE_NAME
        USING ERRCODE = 'restrict_violation', HINT = 'recomputed history takes a new schema_version';
END $$;
CREATE TRIGGER refuse_update BEFORE UPDATE ON l2flow.l2_snapshots
    FOR EACH ROW EXECUTE FUNCTION l2flow.refuse_update();
CREATE TRIGGER refuse_update BEFORE UPDATE ON l2flow.ohlcv
    FOR EACH ROW EXECUTE FUNCTION l2flow.refuse_update();

ALTER FUNCTION l2flow.refuse_update() OWNER TO l2flow_owner;
ALTER TABLE l2flow.l2_snapshots OWNER TO l2flow_owner;
ALTER TABLE l2flow.ohlcv OWNER TO l2flow_owner;

-- ---- rights: the least that each needs
REVOKE ALL ON FUNCTION l2flow.refuse_update() FROM PUBLIC;
GRANT USAGE ON SCHEMA l2flow TO l2flow_archiver, l2flow_reader;
GRANT SELECT ON l2flow.schema_migrations TO l2flow_archiver, l2flow_reader;
GRANT SELECT, INSERT ON l2flow.l2_snapshots, l2flow.ohlcv TO l2flow_archiver;
GRANT SELECT ON l2flow.l2_snapshots, l2flow.ohlcv TO l2flow_reader;

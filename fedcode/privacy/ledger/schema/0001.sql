-- The chain: rows are only added. `body` is canonical JSON; what it holds depends on `kind`.
CREATE TABLE entries (
    seq INTEGER PRIMARY KEY, time TEXT NOT NULL, kind TEXT NOT NULL, asset TEXT NOT NULL,
    body TEXT NOT NULL, previous TEXT NOT NULL, hash TEXT NOT NULL
) STRICT;
CREATE UNIQUE INDEX entries_by_hash ON entries (hash);
CREATE INDEX entries_by_kind ON entries (asset, kind, seq);

-- One account an asset; one answer a round; every charge ends once.
CREATE UNIQUE INDEX entries_opened ON entries (asset) WHERE kind = 'OPENED';
CREATE UNIQUE INDEX entries_armed ON entries (body ->> '$.charge') WHERE kind = 'ARMED';
CREATE UNIQUE INDEX entries_answered ON entries
    (asset, body ->> '$.agreement', body ->> '$.round') WHERE kind = 'ARMED';
CREATE UNIQUE INDEX entries_ended ON entries (body ->> '$.charge')
    WHERE kind IN ('SENT', 'REFUNDED');
CREATE UNIQUE INDEX entries_latched ON entries
    (asset, body ->> '$.agreement', body ->> '$.round', body ->> '$.step') WHERE kind = 'LATCHED';

-- Where the running totals of an asset, of a purpose and of an agreement stand.
CREATE INDEX entries_totals ON entries (asset, seq) WHERE kind IN ('RESERVED', 'REFUNDED');
CREATE INDEX entries_times ON entries (asset, time, seq) WHERE kind IN ('RESERVED', 'REFUNDED');
CREATE INDEX entries_purposes ON entries (asset, body ->> '$.purpose', seq)
    WHERE kind IN ('RESERVED', 'REFUNDED');
CREATE INDEX entries_agreements ON entries (asset, body ->> '$.agreement', seq)
    WHERE kind IN ('RESERVED', 'REFUNDED');

-- The exact bytes that were armed, encrypted; the chain holds their digest.
CREATE TABLE outbox (
    charge INTEGER PRIMARY KEY, asset TEXT NOT NULL, agreement TEXT NOT NULL, sealed BLOB NOT NULL
) STRICT;

-- For people with plain SQL.
CREATE VIEW accounts AS SELECT
    seq, time, asset, body ->> '$.organization' AS organization, body ->> '$.unit' AS unit,
    body ->> '$.caps.total.epsilon' AS epsilon, body ->> '$.caps.total.delta' AS delta,
    body ->> '$.caps.total.order' AS renyi_order,
    body ->> '$.caps.total.budget_nano' AS budget_nano, body ->> '$.seeded' AS seeded
    FROM entries WHERE kind = 'OPENED';
CREATE VIEW charges AS SELECT
    c.seq, c.time, c.asset, c.body ->> '$.agreement' AS agreement, c.body ->> '$.purpose' AS purpose,
    c.body ->> '$.task' AS task, c.body ->> '$.round' AS round,
    c.body ->> '$.cost_nano' AS cost_nano, c.body ->> '$.spent_nano' AS spent_nano,
    c.body ->> '$.noise_multiplier' AS noise_multiplier,
    c.body ->> '$.sampling_rate' AS sampling_rate, c.body ->> '$.steps' AS steps,
    c.body ->> '$.delta' AS delta,
    coalesce(
        (SELECT e.kind FROM entries e WHERE e.kind IN ('SENT', 'REFUNDED')
            AND e.body ->> '$.charge' = c.seq),
        (SELECT a.kind FROM entries a WHERE a.kind = 'ARMED' AND a.body ->> '$.charge' = c.seq),
        'RESERVED'
    ) AS state,
    c.previous, c.hash
    FROM entries c WHERE c.kind = 'RESERVED';

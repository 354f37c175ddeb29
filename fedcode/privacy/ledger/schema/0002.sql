-- One charge for each request that comes from another process, however often it comes.
CREATE UNIQUE INDEX entries_requested ON entries
    (asset, body ->> '$.agreement', body ->> '$.round', body ->> '$.request')
    WHERE kind = 'RESERVED' AND body ->> '$.request' IS NOT NULL;

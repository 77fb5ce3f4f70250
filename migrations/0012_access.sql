-- Who may use the service from other machines. Only the SHA-256 of a token is kept: the token
-- itself is 256 random bits, shown once when it is made.
CREATE TABLE tokens (
    id         INTEGER PRIMARY KEY,
    name       TEXT    NOT NULL UNIQUE, -- also of the searches handed in with it
    scope      TEXT    NOT NULL CHECK (scope IN ('read', 'write')),
    digest     BLOB    NOT NULL UNIQUE,
    created_at TEXT    NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')), -- UTC
    revoked_at TEXT
) STRICT;

-- Files handed to the service, named by what they hold.
CREATE TABLE uploads (
    digest     TEXT    PRIMARY KEY, -- SHA-256, hexadecimal
    kind       TEXT    NOT NULL CHECK (kind IN ('model', 'data', 'profile')),
    name       TEXT    NOT NULL, -- file name as it was handed in
    size_bytes INTEGER NOT NULL,
    submitter  TEXT    NOT NULL,
    created_at TEXT    NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')) -- UTC
) STRICT;

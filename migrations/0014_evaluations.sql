-- The local queue of evaluations: one row a task, from its publication until its answer is taken.
-- What waits longest is handed out first; a lease that ran out is decided on when somebody asks.
CREATE TABLE evaluations (
    id            INTEGER PRIMARY KEY AUTOINCREMENT, -- order of publication
    search        TEXT    NOT NULL, -- who waits for the answer
    task          TEXT    NOT NULL, -- digest of all that the answer depends on, hexadecimal
    device_class  TEXT    NOT NULL,
    payload       TEXT    NOT NULL, -- JSON: what is to be evaluated
    state         TEXT    NOT NULL DEFAULT 'waiting' CHECK (state IN ('waiting', 'leased', 'answered', 'dead')),
    attempt       INTEGER NOT NULL DEFAULT 0, -- times it was handed out since it was published or retried
    fence         INTEGER NOT NULL DEFAULT 0, -- times it was handed out in all: tells the holder from earlier ones
    worker        TEXT,             -- who was last handed it
    leased_until_unix_ms INTEGER NOT NULL DEFAULT 0,
    reason        TEXT,             -- what the last worker said that gave it back
    arrival       INTEGER,          -- of an answer: its place in the search's order of arrival
    answer        TEXT,             -- JSON
    UNIQUE (search, task)
) STRICT;

CREATE INDEX evaluations_waiting ON evaluations (device_class, id) WHERE state = 'waiting';
CREATE INDEX evaluations_leased ON evaluations (leased_until_unix_ms) WHERE state = 'leased';
CREATE INDEX evaluations_answered ON evaluations (search, arrival) WHERE state = 'answered';
CREATE INDEX evaluations_dead ON evaluations (id) WHERE state = 'dead';

-- What the queue counts beside its rows.
CREATE TABLE evaluation_counts (
    name  TEXT    PRIMARY KEY, -- redelivered: times a task was handed out again
    count INTEGER NOT NULL
) STRICT;

INSERT INTO evaluation_counts (name, count) VALUES ('redelivered', 0);

-- Worker processes on this machine, as each last described itself.
CREATE TABLE evaluation_workers (
    name          TEXT    PRIMARY KEY,
    card          TEXT    NOT NULL, -- JSON
    seen_unix_ms  INTEGER NOT NULL
) STRICT;

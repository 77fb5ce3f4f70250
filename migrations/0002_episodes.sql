-- An episode is one bitwidth policy, built and judged; written once, never changed.
-- A figure that was not measured, or was not a number, is NULL.
CREATE TABLE episodes (
    run_id            INTEGER NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
    episode_index     INTEGER NOT NULL, -- from 0 within the run, without gaps
    kind              TEXT    NOT NULL, -- reference, start, warm-up, proposal
    policy            TEXT    NOT NULL, -- JSON, [weight bits, activation bits] a layer: [[8,8],[4,6]]
    policy_hash       INTEGER NOT NULL, -- first 64 bits of the policy's SHA-256: a short key for the cache
    proposed          TEXT,             -- the same before budgets were enforced; NULL where nothing changed
    meets_budgets     INTEGER NOT NULL CHECK (meets_budgets IN (0, 1)),
    quality           REAL,             -- on the search split, by the run's measure, more is better
    objective_cost    REAL,             -- the run's objective: seconds, joules or bytes
    top1              REAL,             -- share, 0 to 1
    top5              REAL,
    loss_nats         REAL,
    agreement         REAL,             -- share, 0 to 1
    kl_nats           REAL,
    mse               REAL,
    latency_s         REAL,             -- for one batch
    energy_j          REAL,             -- for one batch
    size_bytes        INTEGER NOT NULL,
    peak_memory_bytes INTEGER NOT NULL,
    reward            REAL,
    from_cache        INTEGER NOT NULL CHECK (from_cache IN (0, 1)), -- 1: no forward pass was needed
    wall_s            REAL,
    PRIMARY KEY (run_id, episode_index)
) STRICT;

CREATE INDEX episodes_by_policy ON episodes (policy_hash);

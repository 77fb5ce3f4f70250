-- What `haq finetune` did: one row a tuning, kept epoch by epoch, so that one that was
-- interrupted goes on after its last finished epoch.
--
-- quality is by the tuning's measure, with the sign that makes more better. A figure that was not
-- measured, or was not a number, is NULL.
CREATE TABLE tunings (
    id                        INTEGER PRIMARY KEY AUTOINCREMENT,
    created_at                TEXT    NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')), -- UTC
    state                     TEXT    NOT NULL DEFAULT 'running', -- running, completed, interrupted, failed
    error                     TEXT,                               -- why it failed

    -- What was asked; never changes.
    run_id                    INTEGER REFERENCES runs (id) ON DELETE SET NULL, -- whose policy it is, if a run's
    model                     TEXT    NOT NULL, -- file name or 'embedded'
    model_digest              TEXT    NOT NULL, -- SHA-256, hexadecimal
    data                      TEXT    NOT NULL, -- path or 'embedded'
    data_digest               TEXT    NOT NULL, -- SHA-256 over training, search and test images and their labels
    policy                    TEXT    NOT NULL, -- JSON: [weight bits, activation bits] of each layer
    measure                   TEXT    NOT NULL, -- top1, top5, agreement, kl, mse: what the best epoch is best in
    seed                      INTEGER NOT NULL, -- 64 bits; a seed above 2^63 - 1 shows as negative
    epochs_planned            INTEGER NOT NULL,
    config                    TEXT    NOT NULL, -- JSON: all else that the same tuning needs to start again

    -- Where it stands.
    best_epoch                INTEGER,                    -- of the network that is kept; 0, the start, until an epoch is done
    wall_s                    REAL    NOT NULL DEFAULT 0, -- seconds of work, summed over interruptions

    -- Which process works on it, as in runs.
    claim                     INTEGER NOT NULL DEFAULT 1,
    owner_host                TEXT    NOT NULL,
    owner_process_space       TEXT    NOT NULL,
    owner_process_id          INTEGER NOT NULL,
    owner_process_start_ticks INTEGER NOT NULL,
    heartbeat_unix_ms         INTEGER NOT NULL
) STRICT;

-- One row an epoch, judged on the search split; epoch 0 is the post-training start.
CREATE TABLE tuning_epochs (
    tuning_id     INTEGER NOT NULL REFERENCES tunings (id) ON DELETE CASCADE,
    epoch         INTEGER NOT NULL,
    training_loss_nats REAL,        -- mean over the steps; NULL for epoch 0
    learning_rate REAL,             -- of the epoch's first step; NULL for epoch 0
    quality       REAL,
    top1          REAL,             -- share, 0 to 1
    top5          REAL,
    loss_nats     REAL,
    agreement     REAL,             -- share, 0 to 1
    kl_nats       REAL,
    mse           REAL,
    wall_s        REAL    NOT NULL,
    PRIMARY KEY (tuning_id, epoch)
) STRICT, WITHOUT ROWID;

-- Quality beside the epochs: float on the search split, and all three on the test split once the
-- tuning completed.
CREATE TABLE tuning_qualities (
    tuning_id  INTEGER NOT NULL REFERENCES tunings (id) ON DELETE CASCADE,
    subject    TEXT    NOT NULL CHECK (subject IN ('float-search', 'float-test', 'start-test', 'tuned-test')),
    quality    REAL,
    top1       REAL,   -- share, 0 to 1
    top5       REAL,
    loss_nats  REAL,
    agreement  REAL,   -- share, 0 to 1
    kl_nats    REAL,
    mse        REAL,
    PRIMARY KEY (tuning_id, subject)
) STRICT, WITHOUT ROWID;

-- The network of the best epoch, as a .safetensors file; replaced by a better one.
CREATE TABLE tuned_networks (
    tuning_id INTEGER PRIMARY KEY REFERENCES tunings (id) ON DELETE CASCADE,
    network   BLOB    NOT NULL
) STRICT;

-- Weights, scales, momentum and statistics after the last finished epoch, in training's own
-- encoding. Replaced in place; gone once the tuning completed.
CREATE TABLE tuning_checkpoints (
    tuning_id INTEGER PRIMARY KEY REFERENCES tunings (id) ON DELETE CASCADE,
    epoch     INTEGER NOT NULL, -- the epoch it was taken after
    state     BLOB    NOT NULL
) STRICT;

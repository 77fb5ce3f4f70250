-- What `haq quantize` and `haq sensitivity` measured: kept figure by figure, so that a command that
-- was interrupted goes on with what is missing.
--
-- A subject is what figures belong to: one network, judged on one set of images, with one set of
-- calibration images and one seed, by one version of the program. Equal subjects are one row.
-- A figure that was not measured, or was not a number, is NULL.
CREATE TABLE measurement_subjects (
    id                 INTEGER PRIMARY KEY,
    created_at         TEXT    NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')), -- UTC
    model              TEXT    NOT NULL, -- file name or 'embedded'
    model_digest       TEXT    NOT NULL, -- SHA-256, hexadecimal
    data               TEXT    NOT NULL, -- path or 'embedded'
    data_digest        TEXT    NOT NULL, -- SHA-256 over both sets of images and their labels
    split              TEXT    NOT NULL CHECK (split IN ('test', 'search')), -- judged on
    images             INTEGER NOT NULL,
    calibration_images INTEGER NOT NULL,
    seed               INTEGER NOT NULL, -- 64 bits; a seed above 2^63 - 1 shows as negative
    haq_version        TEXT    NOT NULL,

    -- The float network on the same images.
    top1               REAL,             -- share, 0 to 1
    top5               REAL,
    loss_nats          REAL,
    agreement          REAL,             -- share, 0 to 1; with itself
    kl_nats            REAL,
    mse                REAL,
    evaluate_s         REAL,
    UNIQUE (model_digest, data_digest, split, images, calibration_images, seed, haq_version)
) STRICT;

-- The network quantized by one method at one choice of bits: a row of `haq quantize`.
CREATE TABLE quantizations (
    subject_id      INTEGER NOT NULL REFERENCES measurement_subjects (id) ON DELETE CASCADE,
    method          TEXT    NOT NULL, -- as --method takes it
    recipe          TEXT    NOT NULL, -- JSON: what the method's name stood for
    weight_bits     INTEGER NOT NULL CHECK (weight_bits BETWEEN 1 AND 8),
    activation_bits INTEGER NOT NULL CHECK (activation_bits BETWEEN 1 AND 8),
    pins            TEXT    NOT NULL, -- layers with other bits: first=8/8,last=8/8 or none
    created_at      TEXT    NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')), -- UTC
    top1            REAL,             -- share, 0 to 1
    top5            REAL,
    loss_nats       REAL,
    agreement       REAL,             -- share, 0 to 1
    kl_nats         REAL,
    mse             REAL,
    size_bytes      INTEGER NOT NULL, -- weights at their bits, one f32 scale an output channel
    calibrate_s     REAL,             -- once for all bits of a method
    round_s         REAL,             -- what other bits of the method had rounded already is not in it
    evaluate_s      REAL,
    PRIMARY KEY (subject_id, method, recipe, weight_bits, activation_bits, pins)
) STRICT, WITHOUT ROWID;

-- The float network with one layer's weights, or the tensor it reads, rounded, and nothing else.
CREATE TABLE sensitivities (
    subject_id    INTEGER NOT NULL REFERENCES measurement_subjects (id) ON DELETE CASCADE,
    method        TEXT    NOT NULL,
    recipe        TEXT    NOT NULL, -- JSON
    layer_index   INTEGER NOT NULL,
    operand       TEXT    NOT NULL CHECK (operand IN ('weights', 'activations')),
    bits          INTEGER NOT NULL CHECK (bits BETWEEN 1 AND 8),
    name          TEXT    NOT NULL, -- of the layer
    created_at    TEXT    NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')), -- UTC
    top1          REAL,             -- share, 0 to 1
    top5          REAL,
    loss_nats     REAL,
    agreement     REAL,             -- share, 0 to 1
    kl_nats       REAL,
    mse           REAL,
    squared_error REAL,             -- sum of squared changes of the weights; NULL for activations
    PRIMARY KEY (subject_id, method, recipe, layer_index, operand, bits)
) STRICT, WITHOUT ROWID;

-- Trace of the Hessian of the mean loss by one layer's weights, estimated on calibration images.
CREATE TABLE hessian_traces (
    subject_id     INTEGER NOT NULL REFERENCES measurement_subjects (id) ON DELETE CASCADE,
    probes         INTEGER NOT NULL, -- random vectors
    probed_images  INTEGER NOT NULL,
    layer_index    INTEGER NOT NULL,
    name           TEXT    NOT NULL, -- of the layer
    weights        INTEGER NOT NULL,
    trace          REAL,             -- mean over the probes, nats by squared weight
    standard_error REAL,             -- of that mean
    PRIMARY KEY (subject_id, probes, probed_images, layer_index)
) STRICT, WITHOUT ROWID;

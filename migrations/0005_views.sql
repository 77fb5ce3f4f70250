-- One row a run: what it was about and the best policy it found.
-- quality is on the search split, test_quality on the test split (once completed);
-- both by the run's measure, more is better.
CREATE VIEW run_summary AS
SELECT
    runs.id                          AS run,
    runs.created_at,
    runs.state,
    runs.model,
    runs.data,
    runs.profile,
    runs.strategy,
    runs.measure,
    runs.objective,
    runs.budget_requests             AS budget,
    runs.seed,
    runs.batch,
    runs.episodes,
    runs.episodes_planned,
    runs.evaluations,
    runs.wall_s,
    runs.best_episode,
    best.quality,
    best_test.quality                AS test_quality,
    float_search.quality             AS float_quality,
    float_test.quality               AS float_test_quality,
    best.latency_s,
    best.energy_j,
    best.size_bytes,
    best.peak_memory_bytes,
    runs.eight_bit_latency_s,
    runs.eight_bit_energy_j,
    runs.eight_bit_size_bytes,
    runs.eight_bit_peak_memory_bytes,
    runs.error
FROM runs
LEFT JOIN episodes AS best
    ON best.run_id = runs.id AND best.episode_index = runs.best_episode
LEFT JOIN run_qualities AS best_test
    ON best_test.run_id = runs.id AND best_test.subject = 'best-test'
LEFT JOIN run_qualities AS float_search
    ON float_search.run_id = runs.id AND float_search.subject = 'float-search'
LEFT JOIN run_qualities AS float_test
    ON float_test.run_id = runs.id AND float_test.subject = 'float-test';

-- The episodes of each run that meet its budgets and that no other such episode beats in
-- both objective_cost and quality; of equal ones the first.
--
-- By rising cost, an episode is on the front exactly when its quality is above that of
-- everything before it: one sort a run instead of a comparison of all pairs.
CREATE VIEW pareto_front AS
SELECT run, episode, kind, objective_cost, quality, latency_s, energy_j, size_bytes, peak_memory_bytes, policy
FROM (
    SELECT
        run_id         AS run,
        episode_index  AS episode,
        kind,
        objective_cost,
        quality,
        latency_s,
        energy_j,
        size_bytes,
        peak_memory_bytes,
        policy,
        max(quality) OVER (
            PARTITION BY run_id
            ORDER BY objective_cost, quality DESC, episode_index
            ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
        )              AS best_cheaper_quality
    FROM episodes
    WHERE meets_budgets = 1 AND quality IS NOT NULL AND objective_cost IS NOT NULL
)
WHERE best_cheaper_quality IS NULL OR quality > best_cheaper_quality;

-- One row a run, episode and layer: the bits that episode gave the layer.
CREATE VIEW policy_layers AS
SELECT
    episodes.run_id                     AS run,
    episodes.episode_index              AS episode,
    layers.layer_index                  AS layer,
    layers.name,
    layers.kind,
    layers.pinned,
    json_extract(bits.value, '$[0]')    AS weight_bits,
    json_extract(bits.value, '$[1]')    AS activation_bits,
    layers.macs,
    layers.weights
FROM episodes
-- A cross join keeps this order: each policy is taken apart once, then layers are looked up.
CROSS JOIN json_each(episodes.policy) AS bits
CROSS JOIN layers ON layers.run_id = episodes.run_id AND layers.layer_index = bits.key;

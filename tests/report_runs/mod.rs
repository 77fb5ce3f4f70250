//! Runs made up for reports: a small model of what bits cost and what they keep.

use haq::{
    domain::{
        Bits, BitwidthPolicy, Bound, Budget, BudgetRequest, Cost, CostKind, EpisodeKind,
        EpisodeRecord, LayerBits, LayerCost, LayerDescription, Limit, Measure, Quality,
        RunDescription, RunResult, RunState, Strategy,
    },
    report::{RunView, SplitUse},
};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// What a made-up run looks like.
#[derive(Clone)]
pub struct Plan {
    pub id: i64,
    pub model: &'static str,
    pub profile: &'static str,
    pub n_layers: usize,
    pub depthwise: bool,
    pub episodes: u32,
    pub warm_up: u32,
    /// Share of what 8/8 takes, of latency.
    pub budget: Option<f64>,
    pub measure: Measure,
    pub seed: u64,
    /// How strongly the agent comes to prefer good policies, 0 to 1.
    pub skill: f64,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            id: 12,
            model: "resnet20_cifar10.onnx",
            profile: "bismo-edge",
            n_layers: 20,
            depthwise: false,
            episodes: 300,
            warm_up: 40,
            budget: Some(0.6),
            measure: Measure::Top1,
            seed: 1,
            skill: 0.9,
        }
    }
}

struct World {
    layers: Vec<LayerDescription>,
    sensitivity: Vec<f64>,
}

impl World {
    fn new(plan: &Plan) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(7);
        let layers = (0..plan.n_layers)
            .map(|index| {
                let last = index + 1 == plan.n_layers;
                let depthwise = plan.depthwise && index % 3 == 1;
                let stage = 1 << (index * 3 / plan.n_layers);
                let weights = if depthwise { 288 * stage } else { 2304 * stage * stage };
                LayerDescription {
                    name: match last {
                        true => "/model/classifier/fc/Gemm".into(),
                        false => format!("/model/stage{stage}/block.{index}/conv/Conv"),
                    },
                    kind: if last {
                        "linear"
                    } else if depthwise {
                        "depthwise"
                    } else {
                        "conv"
                    }
                    .into(),
                    macs: if last { weights } else { weights * 1024 / (stage * stage) },
                    weights,
                    pinned: index == 0 || last,
                }
            })
            .collect();
        let sensitivity = (0..plan.n_layers)
            .map(|index| {
                let depthwise = plan.depthwise && index % 3 == 1;
                let base: f64 = rng.random_range(0.1..1.0);
                base * if depthwise { 2.5 } else { 1.0 } / plan.n_layers as f64
            })
            .collect();
        Self { layers, sensitivity }
    }

    fn layer_costs(&self, policy: &BitwidthPolicy) -> Vec<LayerCost> {
        self.layers
            .iter()
            .zip(policy.layers())
            .map(|(layer, bits)| {
                let (w, a) = (u64::from(bits.weight.get()), u64::from(bits.activation.get()));
                let compute_cycles = layer.macs * w * a / 2048;
                let memory_cycles = layer.weights * w / 24 + 400 * a;
                let cycles = compute_cycles.max(memory_cycles);
                LayerCost {
                    cycles,
                    compute_cycles,
                    memory_cycles,
                    latency_s: cycles as f64 / 200e6,
                    energy_j: layer.macs as f64 * (w * a) as f64 * 2e-14
                        + (layer.weights * w) as f64 * 8e-12,
                    dram_bytes: layer.weights * w / 8,
                    size_bytes: layer.weights * w / 8 + 64,
                    macs: layer.macs,
                    utilization: 0.7,
                    bound: match compute_cycles >= memory_cycles {
                        true => Bound::Compute,
                        false => Bound::Memory,
                    },
                    promoted: *bits,
                }
            })
            .collect()
    }

    fn cost(&self, policy: &BitwidthPolicy) -> Cost {
        let layers = self.layer_costs(policy);
        let size_bytes = layers.iter().map(|layer| layer.size_bytes).sum();
        Cost {
            latency_s: layers.iter().map(|layer| layer.latency_s).sum(),
            energy_j: layers.iter().map(|layer| layer.energy_j).sum(),
            size_bytes,
            peak_memory_bytes: size_bytes / 2
                + policy
                    .activation_bits()
                    .map(|bits| u64::from(bits.get()) * 4096)
                    .max()
                    .unwrap_or(0),
        }
    }

    fn loss(&self, policy: &BitwidthPolicy) -> f64 {
        let noise = |bits: Bits| 4f64.powi(3 - i32::from(bits.get()));
        policy
            .layers()
            .iter()
            .zip(&self.sensitivity)
            .map(|(bits, s)| s * (noise(bits.weight) + 0.6 * noise(bits.activation)))
            .sum()
    }

    fn quality(&self, policy: &BitwidthPolicy, jitter: f64) -> Quality {
        let loss = self.loss(policy) * 0.1;
        let kept = (-loss * 1.6).exp() + jitter * 0.002;
        Quality {
            top1: Some((0.1 + 0.817 * kept).min(0.918)),
            top5: Some((0.5 + 0.497 * kept).min(1.0)),
            loss: Some(0.3 + loss),
            agreement: Some((0.1 + 0.9 * kept).min(1.0)),
            kl: Some(loss * 0.8 + jitter.abs() * 0.001),
            mse: Some(loss),
        }
    }
}

fn bits(bits: u8) -> Bits {
    Bits::new(bits).expect("1 to 16")
}

/// A run in which later episodes spend their bits where they matter more.
pub fn run(plan: &Plan) -> RunView {
    let world = World::new(plan);
    let mut rng = ChaCha8Rng::seed_from_u64(plan.seed);
    let pin = |mut policy: BitwidthPolicy| {
        for (bits, layer) in policy.layers_mut().iter_mut().zip(&world.layers) {
            if layer.pinned {
                *bits = LayerBits::EIGHT;
            }
        }
        policy
    };
    let eight = BitwidthPolicy::uniform(plan.n_layers, LayerBits::EIGHT);
    let eight_bit_cost = world.cost(&eight);
    let limit = plan.budget.map(|ratio| ratio * eight_bit_cost.latency_s);
    let mut episodes: Vec<EpisodeRecord> = Vec::new();
    let mut push = |kind, policy: BitwidthPolicy, jitter: f64| {
        let quality = world.quality(&policy, jitter);
        episodes.push(EpisodeRecord {
            index: episodes.len() as u32,
            proposal_index: None,
            judged_by: None,
            kind,
            proposed: policy.clone(),
            cost: world.cost(&policy),
            quality,
            reward: quality.top1.unwrap_or(0.0) - 0.917,
            policy,
            stopped_after_images: None,
            from_cache: false,
            wall_s: 0.4,
        });
    };
    for width in (2..=8).rev() {
        let uniform = LayerBits::new(bits(width), bits(width));
        push(EpisodeKind::Reference, pin(BitwidthPolicy::uniform(plan.n_layers, uniform)), 0.0);
    }
    let mean_sensitivity = world.sensitivity.iter().sum::<f64>() / plan.n_layers as f64;
    for episode in 0..plan.episodes {
        let warm_up = episode < plan.warm_up;
        let learned = match warm_up {
            true => 0.0,
            false => {
                let share = f64::from(episode - plan.warm_up)
                    / f64::from((plan.episodes - plan.warm_up).max(1));
                plan.skill * (1.0 - (-4.0 * share).exp())
            }
        };
        let level = rng.random_range(2.2..6.5);
        let layers = world
            .sensitivity
            .iter()
            .map(|s| {
                let wish = level + 1.1 * (s / mean_sensitivity).ln();
                let mut draw = || {
                    let random = rng.random_range(2.0..8.0);
                    bits((learned * wish + (1.0 - learned) * random).round().clamp(2.0, 8.0) as u8)
                };
                LayerBits::new(draw(), draw())
            })
            .collect();
        let mut policy = pin(BitwidthPolicy::new(layers));
        // The paper's sweep: a bit less from back to front until the budget holds.
        'project: while limit.is_some_and(|limit| world.cost(&policy).latency_s > limit) {
            for index in (0..plan.n_layers).rev() {
                if world.layers[index].pinned {
                    continue;
                }
                let layer = &mut policy.layers_mut()[index];
                layer.weight = bits((layer.weight.get() - 1).max(2));
                layer.activation = bits((layer.activation.get() - 1).max(2));
                if limit.is_none_or(|limit| world.cost(&policy).latency_s <= limit) {
                    break 'project;
                }
            }
        }
        let kind = if warm_up { EpisodeKind::WarmUp } else { EpisodeKind::Proposal };
        let jitter = rng.random_range(-1.0..1.0);
        push(kind, policy, jitter);
    }
    let budgets: Vec<Budget> =
        limit.map(|limit| Budget { kind: CostKind::Latency, limit }).into_iter().collect();
    let best = episodes
        .iter()
        .filter(|episode| Budget::all_met(&budgets, &episode.cost))
        .filter(|episode| {
            plan.budget.is_some() || episode.cost.latency_s < eight_bit_cost.latency_s * 0.5
        })
        .filter(|episode| episode.kind != EpisodeKind::Reference)
        .max_by(|a, b| {
            let measure = |e: &EpisodeRecord| plan.measure.of(&e.quality).unwrap_or(f64::MIN);
            measure(a).total_cmp(&measure(b))
        })
        .cloned();
    let float_quality = Quality {
        top1: Some(0.917),
        top5: Some(0.997),
        loss: Some(0.3),
        agreement: Some(1.0),
        kl: Some(0.0),
        mse: Some(0.0),
    };
    let lower = |quality: &Quality| Quality { top1: quality.top1.map(|q| q - 0.003), ..*quality };
    RunView {
        id: plan.id,
        result: RunResult {
            state: RunState::Completed,
            error: None,
            episodes: episodes.len() as u32,
            evaluations: episodes.len() as u32 - 3,
            wall_s: 131.4,
            best_episode: best.as_ref().map(|best| best.index),
            best_test: best.as_ref().map(|best| lower(&best.quality)),
            float_test: Some(lower(&float_quality)),
            tested: Vec::new(),
        },
        best_layers: best.map_or(Vec::new(), |best| world.layer_costs(&best.policy)),
        on_devices: Vec::new(),
        explanation: Vec::new(),
        tested: Vec::new(),
        exploration: (0..episodes.len())
            .map(|episode| 0.5 * 0.985f64.powi((episode as i32 - 47).max(0)))
            .collect(),
        splits: vec![
            SplitUse {
                name: "calibration".into(),
                images: 1024,
                purpose: "clip ranges, rounding, bias correction".into(),
            },
            SplitUse { name: "search".into(), images: 2000, purpose: "the reward".into() },
            SplitUse { name: "test".into(), images: 10000, purpose: "reported once".into() },
        ],
        commands: vec![
            "haq search --model resnet20_cifar10.onnx --data cifar10 --hw bismo-edge.toml \
             --budget latency=0.6 --episodes 300 --seed 1"
                .into(),
            "haq report 12".into(),
        ],
        provenance: vec![("data digest".into(), "9f2c7a11".into())],
        description: RunDescription {
            model: plan.model.into(),
            model_digest: "b3c1".repeat(16),
            data: "cifar10".into(),
            profile: plan.profile.into(),
            strategy: Strategy::Ddpg,
            measure: plan.measure,
            seed: plan.seed,
            episodes_planned: plan.episodes,
            batch: 1,
            budget_requests: plan
                .budget
                .map(|ratio| BudgetRequest { kind: CostKind::Latency, limit: Limit::Ratio(ratio) })
                .into_iter()
                .collect(),
            budgets,
            objective: CostKind::Latency,
            layers: world.layers.clone(),
            float_quality,
            eight_bit_cost,
            config: serde_json::json!({ "episodes": plan.episodes }),
        },
        episodes,
    }
}

//! Updates per second, and the other things done once a step or once an episode.
//!
//! One thread, observations of 10 values, a replay buffer of 6912 transitions.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use haq_agent::{Ddpg, DdpgConfig, Transition};

const OBSERVATION_LEN: usize = 10;
const EPISODE: usize = 54;

fn observation(index: usize) -> Vec<f32> {
    (0..OBSERVATION_LEN).map(|i| ((index * 31 + i * 17) % 101) as f32 / 101.0).collect()
}

/// An agent with a full replay buffer, past its warm-up.
fn agent(config: DdpgConfig) -> Ddpg {
    let config = DdpgConfig { warmup_episodes: 128, ..config };
    let mut agent = Ddpg::new(config, OBSERVATION_LEN, 1).expect("the defaults are in range");
    for episode in 0..128 {
        (0..EPISODE).for_each(|step| observe(&mut agent, episode * EPISODE + step));
        agent.end_episode().expect("nothing was learned yet");
    }
    agent
}

fn observe(agent: &mut Ddpg, index: usize) {
    let observation = observation(index);
    let action = agent.explore(&observation);
    let next_observation = self::observation(index + 1);
    let not_done = index % EPISODE + 1 < EPISODE;
    let reward = -(action - 0.3).abs();
    agent
        .observe(Transition { observation, action, reward, next_observation, not_done })
        .expect("the transition is finite");
}

fn benchmarks(criterion: &mut Criterion) {
    tch::set_num_threads(1);
    let made = agent(DdpgConfig::default());

    criterion.bench_function("act", |bencher| {
        let observation = observation(3);
        bencher.iter(|| made.act(black_box(&observation)));
    });
    criterion.bench_function("state", |bencher| bencher.iter(|| made.state()));
    criterion.bench_function("checkpoint", |bencher| bencher.iter(|| made.checkpoint()));

    let mut group = criterion.benchmark_group("learn");
    group.throughput(Throughput::Elements(1)).sample_size(50);
    let small = DdpgConfig { hidden_units: [64, 64], discount: 0.0, ..DdpgConfig::default() };
    for (name, config) in [("300 x 300", DdpgConfig::default()), ("64 x 64, no bootstrap", small)] {
        let (mut agent, mut index) = (agent(config), 0);
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                index += 1;
                observe(&mut agent, index);
                agent.end_episode().expect("the rates are small")
            });
        });
    }
    group.finish();
}

criterion_group!(benches, benchmarks);
criterion_main!(benches);

//! An agent restored from bytes is the agent that was saved; damaged bytes are refused by name.

use haq_agent::checkpoint::{decode_transitions, encode_transitions};
use haq_agent::{CheckpointError, Ddpg, DdpgConfig, LearnReport, Transition};
use proptest::prelude::*;

const STEPS: usize = 5;

fn config() -> DdpgConfig {
    DdpgConfig {
        hidden_units: [12, 10],
        warmup_episodes: 2,
        replay_capacity: 17,
        batch_size: 8,
        ..DdpgConfig::default()
    }
}

fn new_agent() -> Ddpg {
    Ddpg::new(config(), 3, 11).unwrap()
}

fn observation(agent: &Ddpg, step: usize) -> Vec<f32> {
    vec![agent.episode() as f32 / 10.0, step as f32 / STEPS as f32, 1.0]
}

/// One step: the action is what a run's identity is judged by.
fn step(agent: &mut Ddpg, step: usize) -> f32 {
    let observation = observation(agent, step);
    let action = agent.explore(&observation);
    let next_observation = self::observation(agent, step + 1);
    let reward = 1.0 - (action - 0.4).abs();
    let not_done = step + 1 < STEPS;
    agent.observe(Transition { observation, action, reward, next_observation, not_done }).unwrap();
    action
}

fn play(agent: &mut Ddpg, episodes: usize) -> (Vec<u32>, Vec<LearnReport>) {
    let (mut actions, mut reports) = (Vec::new(), Vec::new());
    for _ in 0..episodes {
        actions.extend((0..STEPS).map(|index| step(agent, index).to_bits()));
        reports.push(agent.end_episode().unwrap());
    }
    (actions, reports)
}

#[test]
fn checkpoint_round_trips_bit_for_bit_and_goes_on_the_same() {
    for episodes in [0, 1, 2, 3, 7] {
        let mut agent = new_agent();
        play(&mut agent, episodes);
        let bytes = agent.checkpoint();
        let mut restored = Ddpg::restore(config(), &bytes).unwrap();
        assert_eq!(restored.checkpoint(), bytes, "after {episodes} episodes");
        assert_eq!(play(&mut restored, 4), play(&mut agent, 4), "after {episodes} episodes");
        assert_eq!(restored.checkpoint(), agent.checkpoint(), "after {episodes} episodes");
    }
}

#[test]
fn checkpoint_in_the_middle_of_an_episode_goes_on_the_same() {
    let mut agent = new_agent();
    play(&mut agent, 4);
    step(&mut agent, 0);
    step(&mut agent, 1);
    let mut restored = Ddpg::restore(config(), &agent.checkpoint()).unwrap();
    for index in 2..STEPS {
        assert_eq!(step(&mut restored, index), step(&mut agent, index));
    }
    let reports = (restored.end_episode().unwrap(), agent.end_episode().unwrap());
    assert_eq!(reports.0, reports.1);
    assert_eq!(reports.0.updates, STEPS as u64);
}

#[test]
fn state_and_the_transitions_of_each_episode_make_the_agent_again() {
    let mut agent = new_agent();
    let mut stored = Vec::new();
    for _ in 0..6 {
        play(&mut agent, 1);
        stored.push(encode_transitions(agent.replay().newest(STEPS)));
    }
    let transitions = || stored.iter().flat_map(|episode| decode_transitions(episode).unwrap());
    let state = agent.state();
    let resumed = Ddpg::resume(config(), &state, transitions()).unwrap();
    assert_eq!(resumed.checkpoint(), agent.checkpoint());

    let without_the_last = transitions().take(6 * STEPS - 1);
    let error = Ddpg::resume(config(), &state, without_the_last).unwrap_err();
    assert!(matches!(error, CheckpointError::Replay { found: 17, expected: 17, .. }), "{error}");
    let too_few = transitions().take(3);
    let error = Ddpg::resume(config(), &state, too_few).unwrap_err();
    assert!(matches!(error, CheckpointError::Replay { found: 3, expected: 17, .. }), "{error}");
}

#[test]
fn same_seed_gives_the_same_actions_and_another_seed_others() {
    let actions = |seed| play(&mut Ddpg::new(config(), 3, seed).unwrap(), 5);
    assert_eq!(actions(1), actions(1));
    assert_ne!(actions(1).0, actions(2).0);
}

#[test]
fn gradients_switched_off_by_the_caller_do_not_stop_the_learning() {
    let mut usual = new_agent();
    let mut guarded = new_agent();
    let expected = play(&mut usual, 4);
    assert_eq!(tch::no_grad(|| play(&mut guarded, 4)), expected);
}

#[test]
fn an_agent_moves_between_threads() {
    let mut agent = new_agent();
    play(&mut agent, 3);
    let mut other = Ddpg::restore(config(), &agent.checkpoint()).unwrap();
    let elsewhere = std::thread::spawn(move || play(&mut other, 2));
    assert_eq!(elsewhere.join().unwrap(), play(&mut agent, 2));
}

#[test]
fn bytes_of_another_kind_version_or_agent_are_refused_by_name() {
    let mut agent = new_agent();
    play(&mut agent, 3);
    let bytes = agent.checkpoint();
    let edited = |at: usize, value: u8| {
        let mut edited = bytes.clone();
        edited[at] = value;
        edited
    };
    let wider = DdpgConfig { hidden_units: [12, 20], ..config() };
    let broken = DdpgConfig { tau: 2.0, ..config() };
    let smaller = DdpgConfig { replay_capacity: 4, ..config() };
    let cases = [
        ("empty", config(), vec![], "this is not an agent's state: it does not begin with"),
        ("other magic", config(), edited(0, b'x'), "this is not an agent's state"),
        (
            "newer",
            config(),
            edited(8, 9),
            "the state has format version 9; this program reads version 1",
        ),
        ("weights", config(), edited(400, !bytes[400]), "the state is damaged: its checksum is"),
        ("cut", config(), bytes[..bytes.len() / 2].to_vec(), "the state is cut short"),
        (
            "cut at the end",
            config(),
            bytes[..bytes.len() - 1].to_vec(),
            "the transitions is cut short",
        ),
        ("longer", config(), [&bytes[..], b"x"].concat(), "1 bytes that do not belong to it"),
        ("wider", wider, bytes.clone(), "an agent whose hidden_units[1] is 10; here it is 20"),
        ("config", broken, bytes.clone(), "tau is 2; it needs to be above 0 and at most 1"),
        ("replay", smaller, bytes.clone(), "the replay buffer held 15 transitions with checksum"),
    ];
    for (name, config, bytes, expected) in cases {
        let error = Ddpg::restore(config, &bytes).unwrap_err().to_string();
        assert!(error.contains(expected), "{name}: {error}");
    }
}

#[test]
fn a_diverged_agent_says_so() {
    let config = DdpgConfig { warmup_episodes: 0, ..config() };
    let mut agent = Ddpg::new(config, 3, 1).unwrap();
    let transition = Transition {
        observation: vec![f32::MAX; 3],
        action: 0.5,
        reward: f32::MAX,
        next_observation: vec![f32::MAX; 3],
        not_done: false,
    };
    agent.observe(transition).unwrap();
    let error = agent.end_episode().unwrap_err().to_string();
    assert!(error.contains("no longer finite after episode 0"), "{error}");
}

fn transition() -> impl Strategy<Value = Transition> {
    let floats = || prop::collection::vec(-1e3..1e3_f32, 3);
    (floats(), 0.0..=1.0_f32, -10.0..10.0_f32, floats(), any::<bool>()).prop_map(
        |(observation, action, reward, next_observation, not_done)| Transition {
            observation,
            action,
            reward,
            next_observation,
            not_done,
        },
    )
}

proptest! {
    // Integration tests have no source folder to keep failures in.
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn transitions_round_trip(transitions in prop::collection::vec(transition(), 0..20)) {
        let bytes = encode_transitions(transitions.iter());
        prop_assert_eq!(decode_transitions(&bytes).unwrap(), transitions);
    }

    #[test]
    fn a_single_damaged_byte_is_always_noticed(position: prop::sample::Index, flip in 1..=255_u8) {
        let mut agent = new_agent();
        play(&mut agent, 1);
        let mut bytes = agent.checkpoint();
        let position = position.index(bytes.len());
        bytes[position] ^= flip;
        prop_assert!(Ddpg::restore(config(), &bytes).is_err());
    }

    #[test]
    fn arbitrary_bytes_are_refused_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(Ddpg::restore(config(), &bytes).is_err());
        prop_assert!(decode_transitions(&bytes).is_err());
    }
}

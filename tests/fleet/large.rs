//! A network that takes a while to get to its workers.

use std::path::Path;

use haq::queue::{Blob, PART_BYTES};
use prost::Message as _;

use crate::{
    folder::{Folder, SEARCH, Worked, Worker, wait_until},
    nats_common::NatsServer,
    onnx,
};

const N_WORKERS: usize = 8;

/// The small network for the digits with a table of 100 MB beside it: moving it takes long, and
/// judging it does not.
fn large_network() -> Vec<u8> {
    const N_NUMBERS: u32 = 25_000_000;
    let number = |index: u32| f32::from_bits(0x3f80_0000 | (index.wrapping_mul(0x9e37_79b9) >> 9));
    let table = onnx::Tensor {
        name: "table".into(),
        dims: vec![N_NUMBERS.into()],
        data_type: 1,
        raw_data: Some((0..N_NUMBERS).flat_map(|index| number(index).to_le_bytes()).collect()),
        ..onnx::Tensor::default()
    };
    let graph = onnx::Graph { initializer: vec![table], ..onnx::Graph::default() };
    let more = onnx::Model { graph: Some(graph), ..onnx::Model::default() };
    let small = Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/digits_net.onnx");
    let mut bytes = std::fs::read(small).unwrap();
    // Messages written one after the other are one message with the fields of both.
    more.encode(&mut bytes).unwrap();
    bytes
}

/// Bytes of the parts at the beginning of a file that are what they have to be.
fn begun(file: &Path, whole: &[u8]) -> u64 {
    let there = std::fs::read(file).unwrap_or_default();
    let part = PART_BYTES as usize;
    let parts = there.chunks(part).zip(whole.chunks(part));
    parts.take_while(|(own, expected)| own == expected).map(|(own, _)| own.len() as u64).sum()
}

/// Name and length of each file that is whole.
fn whole_files(cache: &Path) -> Vec<(String, u64)> {
    let files = std::fs::read_dir(cache).unwrap().flatten();
    let files = files.filter(|file| file.path().is_file());
    let files =
        files.map(|file| (file.file_name().into_string().unwrap(), file.metadata().unwrap().len()));
    files.filter(|(name, _)| !name.ends_with(".partial")).collect()
}

#[test]
fn eight_workers_move_100_mb_once_each_though_one_of_them_and_the_server_are_killed() {
    let Some(mut server) = NatsServer::start() else { return };
    let folder = Folder::new();
    let network = large_network();
    std::fs::write(folder.path().join("large.onnx"), &network).unwrap();
    // One round, so that there is work for all of them at once.
    let assets = Path::new(env!("CARGO_MANIFEST_DIR")).join("assets");
    std::fs::copy(assets.join("digits_net.json"), folder.path().join("large.json")).unwrap();
    let digits = assets.join("digits.csv.gz");
    let model = ["--model", "large.onnx", "--data", digits.to_str().unwrap()];
    let mut search = [SEARCH, &model].concat();
    let round = search.iter().position(|word| *word == "--round").unwrap();
    search[round + 1] = "24";
    let (alone, _) = folder.json(&search);
    let queue = server.fleet("lab");
    let name = |index: usize| format!("worker-{index}");
    let mut workers: Vec<Worker> =
        (0..N_WORKERS).map(|index| folder.worker(&queue, &name(index))).collect();
    let n_there = || folder.fleet(&queue)["workers"].as_array().map_or(0, Vec::len);
    wait_until("all workers", || n_there() == N_WORKERS);
    let mut search = folder.start(&[&search[..], &["--queue", &queue, "--quiet"]].concat());

    let cache = |index: usize| folder.path().join(Folder::cache(&name(index)));
    let partial = cache(0).join(format!("{}.partial", Blob::of(&network).digest));
    wait_until("a first part", || begun(&partial, &network) > 0);
    workers[0].kill();
    let begun = begun(&partial, &network);
    assert!(begun > 0 && begun < network.len() as u64, "{begun} bytes are there");
    let there = begun + whole_files(&cache(0)).iter().map(|(_, bytes)| bytes).sum::<u64>();
    server.restart_same_disk();
    workers[0] = folder.worker(&queue, &name(0));

    assert!(search.wait().unwrap().success());
    assert_eq!(folder.episodes(2), folder.episodes(1));
    let mut n_answered = 0;
    for (index, worker) in workers.into_iter().enumerate() {
        let said = worker.end();
        let files = whole_files(&cache(index));
        for (name, _) in &files {
            let bytes = std::fs::read(cache(index).join(name)).unwrap();
            assert_eq!(Blob::of(&bytes).digest, *name);
        }
        let held: u64 = files.iter().map(|(_, bytes)| bytes).sum();
        assert!(held > network.len() as u64, "worker {index} had nothing to do: {said}");
        let moved = held - if index == 0 { there } else { 0 };
        let moved = format!(" {:.1} MB moved", moved as f64 / 1e6);
        assert!(said.contains(&moved), "worker {index}, {there} bytes were there: {moved}: {said}");
        n_answered += Worked::parse(&said).n_answered;
    }
    assert_eq!(Some(n_answered), alone["evaluations"].as_u64());
}

//! Stores and caches of blobs; what a store does is a small suite that each of them runs.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use bytes::Bytes;
use object_store::{ObjectStoreExt, memory::InMemory};

use super::*;

#[path = "../../../tests/s3_common/mod.rs"]
mod s3_common;

use s3_common::S3Server;

const MIB: usize = 1 << 20;

const HOUR: Duration = Duration::from_secs(3600);

/// The same bytes for the same seed, unlike in every part.
pub(crate) fn content(seed: u64, n_bytes: usize) -> Vec<u8> {
    let words = (0..n_bytes.div_ceil(8) as u64)
        .map(|at| (at ^ (seed << 32)).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let mut bytes: Vec<u8> = words.flat_map(u64::to_le_bytes).collect();
    bytes.truncate(n_bytes);
    bytes
}

/// Counts what goes through, and can be made to fail.
struct Watched<S> {
    store: S,
    n_read: AtomicU64,
    n_written: AtomicU64,
    /// Parts that can be read before the connection is cut.
    reads_left: AtomicU64,
}

impl<S> Watched<S> {
    fn new(store: S) -> Self {
        let (n_read, n_written) = Default::default();
        Self { store, n_read, n_written, reads_left: AtomicU64::new(u64::MAX) }
    }
}

impl<S: BlobStore> BlobStore for Watched<S> {
    fn place(&self) -> String {
        self.store.place()
    }

    async fn has_part(&self, digest: &str) -> Result<bool, BlobError> {
        self.store.has_part(digest).await
    }

    async fn keeps_part(&self, digest: &str) -> Result<bool, BlobError> {
        self.store.keeps_part(digest).await
    }

    async fn put_part(&self, digest: &str, bytes: Bytes) -> Result<(), BlobError> {
        self.n_written.fetch_add(1, Ordering::Relaxed);
        self.store.put_part(digest, bytes).await
    }

    async fn part(&self, digest: &str, bytes_max: u64) -> Result<Bytes, BlobError> {
        if self.reads_left.load(Ordering::Relaxed) == 0 {
            let (place, reason) = (self.place(), "cut".into());
            return Err(BlobError::Store { place, what: "hand out a part", reason });
        }
        self.reads_left.fetch_sub(1, Ordering::Relaxed);
        self.n_read.fetch_add(1, Ordering::Relaxed);
        self.store.part(digest, bytes_max).await
    }

    async fn parts(&self) -> Result<Vec<KeptPart>, BlobError> {
        self.store.parts().await
    }

    async fn remove_part(&self, digest: &str) -> Result<(), BlobError> {
        self.store.remove_part(digest).await
    }
}

/// What each store has to do.
///
/// - `damage`: puts other bytes in place of a part
pub(crate) async fn check_store<S: BlobStore>(store: S, damage: impl AsyncFn(&S, &str, Bytes)) {
    let store = Watched::new(store);
    let folder = tempfile::tempdir().unwrap();
    let cache = BlobCache::new(folder.path().join("cache"), 100 << 20).unwrap();

    // 20 MiB are three parts, each moved once.
    let bytes = content(1, 20 * MIB);
    let blob = store.put(&bytes).await.unwrap();
    assert_eq!((blob.bytes, blob.parts.len()), (20 << 20, 3));
    assert_eq!(store.n_written.load(Ordering::Relaxed), 3);
    assert_eq!(store.put(&bytes).await.unwrap(), blob);
    let source = folder.path().join("source");
    std::fs::write(&source, &bytes).unwrap();
    assert_eq!(store.put_file(&source).await.unwrap(), blob);
    assert_eq!(store.n_written.load(Ordering::Relaxed), 3, "sent again");

    // Cut after one part: the other two are all that is left to do.
    store.reads_left.store(1, Ordering::Relaxed);
    let error = cache.fetch(&store, &blob).await.unwrap_err();
    assert!(matches!(error, BlobError::Store { .. }), "{error}");
    store.reads_left.store(u64::MAX, Ordering::Relaxed);
    let again = BlobCache::new(folder.path().join("cache"), 100 << 20).unwrap();
    let found = again.fetch(&store, &blob).await.unwrap();
    assert!(std::fs::read(&*found).unwrap() == bytes, "other bytes");
    assert_eq!(store.n_read.load(Ordering::Relaxed), 3);
    assert_eq!((cache.moved_bytes(), again.moved_bytes()), (8 << 20, 12 << 20));
    again.fetch(&store, &blob).await.unwrap();
    assert_eq!(store.n_read.load(Ordering::Relaxed), 3, "it was there");

    let nothing = store.put(&[]).await.unwrap();
    assert_eq!(std::fs::read(&*cache.fetch(&store, &nothing).await.unwrap()).unwrap(), b"");

    let unknown = Blob::of(b"nobody put this");
    let error = cache.fetch(&store, &unknown).await.unwrap_err();
    assert!(matches!(error, BlobError::Missing { .. }), "{error}");

    let damaged = store.put(&content(2, MIB)).await.unwrap();
    for (n_bytes, n_read) in [(MIB, MIB), (1, 1), (2 * MIB, MIB + 1)] {
        let other = content(9, n_bytes);
        damage(&store.store, &damaged.parts[0], other.clone().into()).await;
        let error = cache.fetch(&store, &damaged).await.unwrap_err();
        // What is longer than it may be is not read to its end.
        match &error {
            BlobError::Damaged { expected, found, found_bytes, .. } => {
                assert_eq!((expected, found), (&damaged.parts[0], &digest(&other[..n_read])));
                assert_eq!(*found_bytes, n_read as u64);
            }
            other => panic!("{other}"),
        }
    }
    check_cleaning(&store, folder.path()).await;
}

/// What is deleted is gone, can be sent again, and nothing else goes with it.
async fn check_cleaning<S: BlobStore>(store: &Watched<S>, folder: &Path) {
    let now = SystemTime::now();
    let emptied = store.clean(now + HOUR).await.unwrap();
    assert_eq!((emptied.n_removed, emptied.n_kept, emptied.kept_bytes), (4, 0, 0));
    assert_eq!(emptied.removed_bytes, (22 << 20));
    assert_eq!(store.parts().await.unwrap(), []);

    let bytes = content(3, 9 * MIB);
    let blob = store.put(&bytes).await.unwrap();
    let listed = async || -> BTreeMap<String, u64> {
        let parts = store.parts().await.unwrap();
        let is_now = |sent: SystemTime| now - HOUR < sent && sent < SystemTime::now() + HOUR;
        assert!(parts.iter().all(|part| is_now(part.sent)), "{parts:?}");
        parts.into_iter().map(|part| (part.digest, part.bytes)).collect()
    };
    let both = BTreeMap::from([(blob.parts[0].clone(), 8 << 20), (blob.parts[1].clone(), 1 << 20)]);
    assert_eq!(listed().await, both);
    let untouched = Cleaned { n_kept: 2, kept_bytes: 9 << 20, ..Cleaned::default() };
    assert_eq!(store.clean(now - HOUR).await.unwrap(), untouched);

    store.remove_part(&blob.parts[0]).await.unwrap();
    store.remove_part(&blob.parts[0]).await.unwrap();
    assert!(!store.has_part(&blob.parts[0]).await.unwrap());
    assert!(store.has_part(&blob.parts[1]).await.unwrap());
    let cache = BlobCache::new(folder.join("empty"), 100 << 20).unwrap();
    let error = cache.fetch(store, &blob).await.unwrap_err();
    assert!(matches!(error, BlobError::Missing { .. }), "{error}");
    let n_written = store.n_written.load(Ordering::Relaxed);
    store.put(&bytes).await.unwrap();
    assert_eq!(store.n_written.load(Ordering::Relaxed), n_written + 1, "what was missing");
    assert_eq!(listed().await, both);
    assert!(std::fs::read(&*cache.fetch(store, &blob).await.unwrap()).unwrap() == bytes);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_is_a_store_of_blobs() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path().to_owned();
    let store = BlobFolder::new(&at).unwrap();
    check_store(store, async |_, digest, bytes| std::fs::write(at.join(digest), bytes).unwrap())
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_store_is_a_store_of_blobs() {
    let objects = Arc::new(InMemory::new());
    let theirs = ["readme", "fleets/lab/notes.txt", "fleets/lab/x/", "fleets/laboratory/"];
    let theirs = theirs.map(|name| match name.ends_with('/') {
        true => format!("{name}{}", digest(b"theirs")),
        false => name.to_owned(),
    });
    for name in &theirs {
        objects.put(&name.as_str().into(), Bytes::from_static(b"theirs").into()).await.unwrap();
    }
    let store = BlobBucket::over(objects.clone(), "fleets/lab", "a bucket");
    check_store(store.clone(), async |store, digest, bytes| {
        store.put_part(digest, bytes).await.unwrap();
    })
    .await;
    store.clean(SystemTime::now() + HOUR).await.unwrap();
    for name in &theirs {
        let kept = objects.head(&name.as_str().into()).await;
        assert!(kept.is_ok(), "{name} is no part of this fleet");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_of_an_s3_server_is_a_store_of_blobs() {
    let Some(server) = S3Server::start() else { return };
    let variables = || server.variables().into_iter();
    for prefix in ["", "fleets/lab"] {
        let store = BlobBucket::open("lab", prefix, variables()).await.unwrap();
        check_store(store, async |store, digest, bytes| {
            store.put_part(digest, bytes).await.unwrap();
        })
        .await;
    }
    // More than one answer of the server lists.
    let store = BlobBucket::open("lab", "many", variables()).await.unwrap();
    let n_parts = 1010;
    let parts = (0..n_parts).map(|at: u32| Bytes::copy_from_slice(&at.to_le_bytes()));
    let puts = parts.map(|part| {
        let store = &store;
        async move { store.put_part(&digest(&part), part).await }
    });
    stream::iter(puts).buffer_unordered(8).try_collect::<()>().await.unwrap();
    let cleaned = store.clean(SystemTime::now() + HOUR).await.unwrap();
    assert_eq!((cleaned.n_removed, cleaned.removed_bytes), (1010, 4040));
    assert_eq!(store.parts().await.unwrap(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_that_cannot_be_used_is_told_at_the_start() {
    let Some(server) = S3Server::start() else { return };
    let file = tempfile::NamedTempFile::new().unwrap();
    let file = file.path().to_str().unwrap();
    for (bucket, changed, expected) in [
        ("nowhere", ("AWS_REGION", "eu-central-1"), "nowhere"),
        ("lab", ("AWS_ENDPOINT_URL", "http://127.0.0.1:9"), "127.0.0.1:9"),
        ("lab", ("AWS_ALLOW_HTTP", ""), "AWS_ALLOW_HTTP=true"),
        ("lab", ("AWS_SECRET_ACCESS_KEY", ""), "SecretAccessKey"),
        ("lab", ("AWS_CA_BUNDLE", "/none"), "AWS_CA_BUNDLE: /none"),
        ("lab", ("AWS_CA_BUNDLE", file), "no certificate"),
    ] {
        let mut variables: BTreeMap<_, _> = server.variables().into_iter().collect();
        variables.insert(changed.0.to_owned(), changed.1.to_owned());
        let error = BlobBucket::open(bucket, "fleets", variables.into_iter()).await.unwrap_err();
        let told = error.to_string();
        assert!(matches!(error, BlobError::Place { .. }), "{changed:?}: {told}");
        assert!(told.contains(expected) && told.contains("s3://"), "{changed:?}: {told}");
        assert!(!told.contains("p@ss"), "{changed:?}: {told}");
    }
}

#[test]
fn a_place_for_blobs_is_a_bucket_or_a_folder() {
    let folder = |path: &str| Some(BlobPlace::Folder(path.into()));
    let bucket = |name: &str, prefix: &str| {
        Some(BlobPlace::Bucket { name: name.into(), prefix: prefix.into() })
    };
    for (text, expected) in [
        ("s3://lab", bucket("lab", "")),
        ("s3://lab/", bucket("lab", "")),
        ("s3://lab.example/fleets/blobs/", bucket("lab.example", "fleets/blobs")),
        ("file:///srv/blobs", folder("/srv/blobs")),
        ("/srv/blobs", folder("/srv/blobs")),
        ("blobs of ann@lab", folder("blobs of ann@lab")),
        ("", None),
        ("s3://", None),
        ("s3:///fleets", None),
        ("s3://ann:secret@lab/fleets", None),
        ("s3://lab/a//b", None),
        ("s3://lab/../other", None),
        ("s3://lab/a?versionId=1", None),
        ("file://server/blobs", None),
        ("file:///srv/a%20b", None),
        ("gs://lab/fleets", None),
        ("https://ann:secret@lab/fleets", None),
        ("a\nb", None),
    ] {
        let found = BlobPlace::parse(text);
        if let Err(error) = &found {
            let told = error.to_string();
            assert!(told.contains("s3://BUCKET/PREFIX"), "{text}: {told}");
            assert!(!told.contains('\n'), "{text}: {told}");
        }
        assert_eq!(found.ok(), expected, "{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_put_into_a_folder_again_counts_as_sent_again() {
    const DAY: Duration = Duration::from_secs(86_400);
    let folder = tempfile::tempdir().unwrap();
    let store = Watched::new(BlobFolder::new(folder.path()).unwrap());
    let (used, unused) = (content(1, MIB), content(2, MIB));
    let blobs = [store.put(&used).await.unwrap(), store.put(&unused).await.unwrap()];
    for blob in &blobs {
        let file = std::fs::File::open(folder.path().join(&blob.parts[0])).unwrap();
        file.set_modified(SystemTime::now() - 40 * DAY).unwrap();
    }
    store.put(&used).await.unwrap();
    assert_eq!(store.n_written.load(Ordering::Relaxed), 2, "sent again");
    let cleaned = store.clean(SystemTime::now() - 30 * DAY).await.unwrap();
    assert_eq!((cleaned.n_removed, cleaned.n_kept), (1, 1));
    assert!(store.has_part(&blobs[0].parts[0]).await.unwrap());
    for (age, expected) in [(6 * DAY, true), (8 * DAY, false)] {
        assert_eq!(is_young(SystemTime::now() - age), expected, "{age:?}");
    }
    assert!(is_young(SystemTime::now() + DAY), "clocks differ");
}

#[test]
fn what_came_from_elsewhere_names_no_other_file() {
    let good = Blob::of(&content(1, 9 * MIB));
    good.check().unwrap();
    let with_part =
        |part: &str| Blob { parts: vec![part.into(), good.parts[1].clone()], ..good.clone() };
    let upper = good.parts[0].to_uppercase();
    for bad in [
        Blob { digest: "../../etc/passwd".into(), ..good.clone() },
        with_part(&"/".repeat(64)),
        with_part(&upper),
        Blob { bytes: 8 << 20, ..good.clone() },
        Blob { bytes: u64::MAX, ..good.clone() },
    ] {
        assert!(matches!(bad.check(), Err(BlobError::NotABlob { .. })), "{bad:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn parts_that_do_not_make_the_whole_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let store = BlobFolder::new(folder.path().join("store")).unwrap();
    let cache = BlobCache::new(folder.path().join("cache"), 1 << 30).unwrap();
    let blob = store.put(&content(1, MIB)).await.unwrap();
    let lying = Blob { digest: digest(b"something else"), ..blob };
    let error = cache.fetch(&store, &lying).await.unwrap_err();
    assert!(matches!(error, BlobError::NotABlob { .. }), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_cache_drops_what_was_used_longest_ago_and_nothing_in_use() {
    let folder = tempfile::tempdir().unwrap();
    let store = BlobFolder::new(folder.path().join("store")).unwrap();
    let cache = BlobCache::new(folder.path().join("cache"), 3 << 20).unwrap();
    let mut blobs = Vec::new();
    for seed in 0..5 {
        blobs.push(store.put(&content(seed, MIB)).await.unwrap());
    }
    let is_there = |at: usize| folder.path().join("cache").join(&blobs[at].digest).exists();
    let there = || (0..5).filter(|at| is_there(*at)).collect::<Vec<_>>();
    let pause = || tokio::time::sleep(Duration::from_millis(20));
    let in_use = cache.fetch(&store, &blobs[0]).await.unwrap();
    for at in [1, 2] {
        pause().await;
        cache.fetch(&store, &blobs[at]).await.unwrap();
    }
    pause().await;
    cache.fetch(&store, &blobs[1]).await.unwrap();
    assert_eq!(there(), [0, 1, 2]);
    pause().await;
    cache.fetch(&store, &blobs[3]).await.unwrap();
    assert_eq!(there(), [0, 1, 3]);

    let _also = cache.fetch(&store, &blobs[1]).await.unwrap();
    let _too = cache.fetch(&store, &blobs[3]).await.unwrap();
    let error = cache.fetch(&store, &blobs[4]).await.unwrap_err();
    assert!(matches!(error, BlobError::InUse { .. }), "{error}");
    drop(in_use);
    cache.fetch(&store, &blobs[4]).await.unwrap();
    assert_eq!(there(), [1, 3, 4]);

    let large = store.put(&content(7, 4 * MIB)).await.unwrap();
    let error = cache.fetch(&store, &large).await.unwrap_err();
    assert!(matches!(error, BlobError::TooLarge { .. }), "{error}");
    assert_eq!(there(), [1, 3, 4]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_file_in_the_cache_is_fetched_anew() {
    let folder = tempfile::tempdir().unwrap();
    let store = BlobFolder::new(folder.path().join("store")).unwrap();
    let blob = store.put(&content(1, MIB)).await.unwrap();
    let new_process = || BlobCache::new(folder.path().join("cache"), 1 << 30).unwrap();
    let path = new_process().fetch(&store, &blob).await.unwrap().path().to_owned();
    // As a power failure may leave it.
    std::fs::write(&path, vec![0; MIB]).unwrap();
    let cache = new_process();
    let found = cache.fetch(&store, &blob).await.unwrap();
    assert!(std::fs::read(&*found).unwrap() == content(1, MIB));
    assert_eq!(cache.moved_bytes(), 1 << 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn processes_that_share_a_cache_download_once() {
    let folder = tempfile::tempdir().unwrap();
    let store = Watched::new(BlobFolder::new(folder.path().join("store")).unwrap());
    let blob = store.put(&content(1, 20 * MIB)).await.unwrap();
    // Caches of one folder share nothing but the folder, as processes do.
    let fetch = async || {
        let cache = BlobCache::new(folder.path().join("cache"), 1 << 30).unwrap();
        let found = cache.fetch(&store, &blob).await.unwrap();
        (std::fs::read(&*found).unwrap() == content(1, 20 * MIB), cache.moved_bytes())
    };
    let (a, b, c) = tokio::join!(fetch(), fetch(), fetch());
    assert!(a.0 && b.0 && c.0);
    assert_eq!(a.1 + b.1 + c.1, 20 << 20);
    assert_eq!(store.n_read.load(Ordering::Relaxed), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_is_told_and_what_was_there_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let Some(disk) = SmallDisk::mount(&folder.path().join("disk"), "16m") else { return };
    let store = BlobFolder::new(folder.path().join("store")).unwrap();
    let cache = BlobCache::new(&disk.0, 1 << 30).unwrap();
    let small = store.put(&content(1, 4 * MIB)).await.unwrap();
    let large = store.put(&content(2, 20 * MIB)).await.unwrap();
    drop(cache.fetch(&store, &small).await.unwrap());
    let error = cache.fetch(&store, &large).await.unwrap_err();
    assert!(matches!(error, BlobError::DiskFull { .. }), "{error}");
    assert!(error.to_string().contains("full"), "{error}");
    let moved = cache.moved_bytes();
    drop(cache.fetch(&store, &small).await.unwrap());
    assert_eq!(cache.moved_bytes(), moved, "it was there");
}

/// A small file system of its own.
struct SmallDisk(std::path::PathBuf);

impl SmallDisk {
    /// None, with a word, where this user may not make one.
    #[allow(clippy::print_stderr, reason = "a skipped test says so")]
    fn mount(at: &Path, size: &str) -> Option<Self> {
        std::fs::create_dir_all(at).unwrap();
        let mounted = std::process::Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"])
            .arg(at)
            .stderr(std::process::Stdio::null())
            .status();
        if !mounted.is_ok_and(|status| status.success()) {
            eprintln!("skipped: this user cannot mount a small disk");
            return None;
        }
        Some(Self(at.to_owned()))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

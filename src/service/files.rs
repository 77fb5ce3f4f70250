//! Files the service reads for others: those below its folders, and those handed to it.
//!
//! Nothing outside is ever opened: names with `..` and symbolic links are refused, whatever they
//! lead to.

use std::{
    fs, io,
    path::{Component, Path, PathBuf},
};

use crate::{
    domain::RunId,
    runner::{FoundProfile, Places, ProfileSource, find_profile, profile_names},
    service::settings::Settings,
    store::{Store, StoreError, Upload, UploadKind},
};

/// Entries of a folder that are listed at most.
const N_LISTED: usize = 1000;

/// How deep model folders are looked through.
const DEPTH: usize = 4;

/// The folders of one service.
#[derive(Debug, Clone)]
pub struct Files {
    state_folder: PathBuf,
    model_folders: Vec<PathBuf>,
    data_folders: Vec<PathBuf>,
}

/// A file or folder that can be named in a submission.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// As a submission names it.
    pub path: String,
    pub bytes: u64,
}

impl Files {
    /// Makes the state folder where it is missing.
    ///
    /// # Errors
    /// Names the folder that is not there or cannot be made.
    pub fn open(settings: &Settings) -> io::Result<Self> {
        let named = |path: &Path, error: io::Error| {
            io::Error::new(error.kind(), format!("{}: {error}", path.display()))
        };
        let state = &settings.state_folder;
        for folder in ["uploads", "exports", "work"] {
            let folder = state.join(folder);
            fs::create_dir_all(&folder).map_err(|error| named(&folder, error))?;
        }
        let whole = |folders: &[PathBuf]| -> io::Result<Vec<PathBuf>> {
            folders
                .iter()
                .map(|folder| fs::canonicalize(folder).map_err(|error| named(folder, error)))
                .collect()
        };
        let files = Self {
            state_folder: fs::canonicalize(state).map_err(|error| named(state, error))?,
            model_folders: whole(&settings.model_folders)?,
            data_folders: whole(&settings.data_folders)?,
        };
        // What a service that was killed left half written.
        for entry in fs::read_dir(files.work_folder())?.flatten() {
            let _ = fs::remove_file(entry.path()).or_else(|_| fs::remove_dir_all(entry.path()));
        }
        Ok(files)
    }

    /// Where files lie while they come in or are being made.
    pub fn work_folder(&self) -> PathBuf {
        self.state_folder.join("work")
    }

    pub fn exports_folder(&self) -> PathBuf {
        self.state_folder.join("exports")
    }

    /// Deletes what was exported of a search.
    pub fn forget_exports(&self, search: RunId) {
        let prefix = format!("{search}-");
        for entry in fs::read_dir(self.exports_folder()).into_iter().flatten().flatten() {
            if entry.file_name().to_string_lossy().starts_with(&prefix) {
                let _ = fs::remove_file(entry.path());
            }
        }
    }

    /// Where an uploaded file lies, by what it holds.
    pub fn upload_path(&self, digest: &str, name: &str) -> PathBuf {
        self.state_folder.join("uploads").join(digest).join(name)
    }

    /// Models below the model folders.
    pub fn models(&self) -> Vec<Listed> {
        let mut found = Vec::new();
        for root in &self.model_folders {
            walk(root, root, DEPTH, &mut found, &|path, is_folder| {
                !is_folder && has_ending(path, &["onnx"])
            });
        }
        found
    }

    /// Data folders and what lies in them.
    pub fn data(&self) -> Vec<Listed> {
        let mut found = Vec::new();
        for root in &self.data_folders {
            walk(root, root, 1, &mut found, &|_, _| true);
        }
        found
    }
}

/// Where names of submissions lead at the moment.
pub struct Named<'a> {
    files: &'a Files,
    models: Vec<Upload>,
    data: Vec<Upload>,
    profiles: Vec<Upload>,
}

impl<'a> Named<'a> {
    pub async fn new(files: &'a Files, store: &Store) -> Result<Named<'a>, StoreError> {
        Ok(Self {
            files,
            models: store.uploads(UploadKind::Model).await?,
            data: store.uploads(UploadKind::Data).await?,
            profiles: store.uploads(UploadKind::Profile).await?,
        })
    }

    /// Profiles that can be named: uploaded ones, those in `./hw-profiles`, those built in.
    pub fn profile_names(&self) -> Vec<(String, &'static str)> {
        let mut names: Vec<(String, &'static str)> = Vec::new();
        let uploaded = self.profiles.iter().map(|upload| (stem(&upload.name), "uploaded"));
        let others = profile_names().into_iter().map(|(name, source)| match source {
            ProfileSource::File(_) => (name, "file"),
            ProfileSource::BuiltIn => (name, "built in"),
        });
        for (name, source) in uploaded.chain(others) {
            if names.iter().all(|(known, _)| *known != name) {
                names.push((name, source));
            }
        }
        names.sort();
        names
    }

    fn uploaded(&self, uploads: &[Upload], name: &str) -> Option<Result<PathBuf, String>> {
        let digest = name.strip_prefix("sha256:")?;
        let found = uploads.iter().find(|upload| upload.digest == digest);
        Some(match found {
            Some(upload) => Ok(self.files.upload_path(&upload.digest, &upload.name)),
            None => Err(format!("{name} was not uploaded here")),
        })
    }
}

impl Places for Named<'_> {
    fn profile(&self, name: &str) -> Result<FoundProfile, String> {
        let stem = stem(name);
        let uploaded = self.profiles.iter().find(|upload| {
            self::stem(&upload.name) == stem || name.strip_prefix("sha256:") == Some(&upload.digest)
        });
        if let Some(upload) = uploaded {
            let path = self.files.upload_path(&upload.digest, &upload.name);
            let text = fs::read_to_string(&path).map_err(|error| format!("{name}: {error}"))?;
            let origin = upload.name.clone();
            return Ok(FoundProfile { source: ProfileSource::File(path), origin, text });
        }
        // Only names that are listed: a path would lead anywhere.
        let known = self.profile_names();
        if known.iter().any(|(known, _)| *known == stem) {
            return find_profile(&stem).map_err(|error| error.to_string());
        }
        let names: Vec<String> = known.into_iter().map(|(name, _)| name).collect();
        Err(format!("there is no hardware profile {name:?}; there are {}", names.join(", ")))
    }

    fn model(&self, name: &str) -> Result<PathBuf, String> {
        if let Some(found) = self.uploaded(&self.models, name) {
            return found;
        }
        let path = confined(&self.files.model_folders, name, "model_folders")?;
        if !path.is_file() || !has_ending(&path, &["onnx", "safetensors"]) {
            return Err(format!("{name} is not an .onnx or .safetensors file"));
        }
        Ok(path)
    }

    fn data(&self, name: &str) -> Result<PathBuf, String> {
        match self.uploaded(&self.data, name) {
            Some(found) => found,
            None => confined(&self.files.data_folders, name, "data_folders"),
        }
    }
}

fn stem(name: &str) -> String {
    name.strip_suffix(".toml").unwrap_or(name).to_owned()
}

/// The file or folder below one of `roots` that a name leads to.
fn confined(roots: &[PathBuf], name: &str, setting: &str) -> Result<PathBuf, String> {
    if roots.is_empty() {
        return Err(format!(
            "{name}: this service reads no files of its machine; {setting} names folders it may \
             read, or upload the file"
        ));
    }
    let asked = Path::new(name);
    let is_plain = |part: Component<'_>| {
        matches!(part, Component::Normal(_) | Component::RootDir | Component::CurDir)
    };
    if name.is_empty() || name.contains('\0') || !asked.components().all(is_plain) {
        return Err(format!("{name:?} is not a path below a folder of this service"));
    }
    for root in roots {
        let below = match asked.strip_prefix(root) {
            Ok(below) => below,
            Err(_) if asked.is_relative() => asked,
            Err(_) => continue,
        };
        if let Some(path) = follow(root, below)? {
            return Ok(path);
        }
    }
    Err(format!("{name}: there is no such file below a folder of {setting}"))
}

/// Goes down step by step, and never through a symbolic link. None where there is nothing.
fn follow(root: &Path, below: &Path) -> Result<Option<PathBuf>, String> {
    let mut path = root.to_owned();
    for part in below.components() {
        path.push(part);
        match fs::symlink_metadata(&path) {
            Ok(found) if found.is_symlink() => {
                return Err(format!("{}: symbolic links are not followed", below.display()));
            }
            Ok(_) => {}
            Err(_) => return Ok(None),
        }
    }
    Ok(Some(path))
}

fn has_ending(path: &Path, endings: &[&str]) -> bool {
    path.extension()
        .is_some_and(|ending| endings.iter().any(|one| ending.eq_ignore_ascii_case(one)))
}

fn walk(
    root: &Path,
    folder: &Path,
    depth: usize,
    found: &mut Vec<Listed>,
    is_wanted: &dyn Fn(&Path, bool) -> bool,
) {
    let mut entries: Vec<_> = fs::read_dir(folder).into_iter().flatten().flatten().collect();
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let Ok(metadata) = fs::symlink_metadata(entry.path()) else { continue };
        if metadata.is_symlink() || found.len() >= N_LISTED {
            continue;
        }
        let path = entry.path();
        if is_wanted(&path, metadata.is_dir()) {
            let below = path.strip_prefix(root).unwrap_or(&path);
            found.push(Listed { path: below.display().to_string(), bytes: metadata.len() });
        }
        if metadata.is_dir() && depth > 1 {
            walk(root, &path, depth - 1, found, is_wanted);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_lies_below_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap().join("models");
        fs::create_dir_all(root.join("deep")).unwrap();
        fs::write(root.join("deep/net.onnx"), "x").unwrap();
        fs::write(folder.path().join("secret.onnx"), "x").unwrap();
        std::os::unix::fs::symlink(folder.path(), root.join("out")).unwrap();
        std::os::unix::fs::symlink("../secret.onnx", root.join("link.onnx")).unwrap();
        let roots = [root.clone()];
        let whole = root.join("deep/net.onnx").display().to_string();
        for name in ["deep/net.onnx", "./deep/net.onnx", &whole] {
            assert_eq!(confined(&roots, name, "model_folders").unwrap(), Path::new(&whole));
        }
        let outside = folder.path().join("secret.onnx").display().to_string();
        let back = format!("{}/../secret.onnx", root.display());
        for name in [
            "../secret.onnx",
            "deep/../../secret.onnx",
            "out/secret.onnx",
            "link.onnx",
            "",
            "deep/net.onnx\0",
            "nothing.onnx",
            "/etc/passwd",
            &outside,
            &back,
        ] {
            assert!(confined(&roots, name, "model_folders").is_err(), "{name:?}");
        }
        let mut found = Vec::new();
        walk(&root, &root, DEPTH, &mut found, &|path, _| has_ending(path, &["onnx"]));
        assert_eq!(found, [Listed { path: "deep/net.onnx".into(), bytes: 1 }]);
    }
}

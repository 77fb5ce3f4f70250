//! The files of one export.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use anyhow::Context as _;

use super::{ChangedLayers, Exported};
use crate::{
    cli::{
        args::{ExportArgs, ExportFormat},
        exit::UsageError,
        session::policy_file,
    },
    data::Dataset,
    export::{AimetVersion, Change, PolicyFile, aimet_encodings},
    network::{Graph, OnnxForm, Stored},
    runner::{self, ExportSubject, Origin},
    search::Model,
};

/// Writes what was asked for.
pub struct Writer<'a> {
    pub args: &'a ExportArgs,
    pub subject: &'a ExportSubject,
    pub model: &'a Model,
    pub dataset: &'a Dataset,
}

impl Writer<'_> {
    /// Writes all files; gives the network that a runtime can be compared with.
    pub fn write(&self, exported: &mut Exported) -> anyhow::Result<Option<Graph>> {
        let path = self.path()?;
        let two_bits = self.args.two_bit_types;
        match self.args.format {
            ExportFormat::Onnx => {
                self.network(OnnxForm::Qdq { two_bits }, &path, exported).map(Some)
            }
            ExportFormat::Qonnx => self.network(OnnxForm::Qonnx, &path, exported).map(|_| None),
            ExportFormat::Aimet => self.encodings(AimetVersion::One, &path, exported),
            ExportFormat::AimetTwo => self.encodings(AimetVersion::Two, &path, exported),
            ExportFormat::Policy => {
                let quantized = self.subject.quantized(self.model, self.dataset)?;
                self.policy_file().with_levels(&quantized).save(&path)?;
                exported.files.policy = Some(path);
                Ok(None)
            }
        }
    }

    fn path(&self) -> anyhow::Result<PathBuf> {
        if let Some(path) = &self.args.out {
            self.check_card(path)?;
            return Ok(path.clone());
        }
        let mut folder = PathBuf::from("haq-out");
        if let Some(run) = self.subject.origin.run {
            folder.push(format!("run-{run}"));
        }
        std::fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
        let (stem, ending) = (runner::stem(self.model), self.args.format.ending());
        Ok(folder.join(format!("{stem}_{ending}")))
    }

    /// A file that is no card of this network is not written over.
    fn check_card(&self, network: &Path) -> anyhow::Result<()> {
        let card = network.with_extension("json");
        let known = Model::card_bytes(self.subject.model.as_deref())?;
        let is_written = known.is_some() && self.args.format != ExportFormat::Policy;
        if is_written && std::fs::read(&card).is_ok_and(|found| Some(found) != known) {
            let card = card.display();
            let problem =
                format!("{card} is there, where the network's card goes; choose another --out");
            return Err(UsageError(problem).into());
        }
        Ok(())
    }

    fn policy_file(&self) -> PolicyFile {
        PolicyFile {
            run: self.subject.origin.run,
            profile: self.subject.origin.profile.clone(),
            ..policy_file(self.model, &self.subject.policy)
        }
    }

    fn network(
        &self,
        form: OnnxForm,
        path: &Path,
        exported: &mut Exported,
    ) -> anyhow::Result<Graph> {
        let target = self.args.target;
        let deployment = self.subject.deployment(self.model, self.dataset, form, target)?;
        let policy = serde_json::to_string(&self.policy_file())?;
        let mut texts = BTreeMap::from([(PolicyFile::METADATA.to_owned(), policy)]);
        let Origin { run, profile, .. } = &self.subject.origin;
        texts.extend(run.map(|run| ("haq.run".to_owned(), run.to_string())));
        texts.extend(profile.clone().map(|profile| ("haq.profile".to_owned(), profile)));
        let file = deployment.graph.clone().with_inputs_apart().to_onnx_file(form, &texts)?;
        let stored = (form != OnnxForm::Qonnx).then(|| file.stored());
        file.save(path)?;
        exported.changes = deployment.changes.into_iter().map(ChangedLayers::from).collect();
        self.note(path, stored, exported)?;
        Ok(deployment.graph)
    }

    fn encodings(
        &self,
        version: AimetVersion,
        path: &Path,
        exported: &mut Exported,
    ) -> anyhow::Result<Option<Graph>> {
        let form = OnnxForm::Float;
        let target = self.args.target;
        let deployment = self.subject.deployment(self.model, self.dataset, form, target)?;
        let graph = deployment.graph.with_inputs_apart();
        let encodings = aimet_encodings(&graph, version)?;
        graph.without_roundings().to_onnx_file(form, &BTreeMap::new())?.save(path)?;
        let beside = path.with_extension("encodings");
        std::fs::write(&beside, serde_json::to_string_pretty(&encodings)? + "\n")
            .with_context(|| beside.display().to_string())?;
        exported.files.encodings = Some(beside);
        self.note(path, None, exported)?;
        Ok(None)
    }

    /// Notes the network's file and what it takes, and writes its card.
    fn note(
        &self,
        path: &Path,
        stored: Option<Stored>,
        exported: &mut Exported,
    ) -> anyhow::Result<()> {
        let bytes = std::fs::metadata(path).with_context(|| path.display().to_string())?.len();
        exported.size.file_bytes = Some(bytes);
        exported.size.code_bytes = stored.map(|stored| stored.code_bytes);
        exported.size.scaling_bytes = stored.map(|stored| stored.scaling_bytes);
        exported.files.network = Some(path.to_owned());
        // The network is fed as the one it was made from.
        if let Some(bytes) = Model::card_bytes(self.subject.model.as_deref())? {
            let card = path.with_extension("json");
            std::fs::write(&card, bytes).with_context(|| card.display().to_string())?;
            exported.files.card = Some(card);
        }
        Ok(())
    }
}

impl From<Change> for ChangedLayers {
    fn from(Change { layers, what }: Change) -> Self {
        Self { layers, what }
    }
}

//! Models and data: listed, and handed in as files that are named by what they hold.

use std::{ffi::OsString, path::Path as FilePath, sync::Arc, time::Duration};

use axum::{
    Extension, Json,
    body::Body,
    extract::{
        Path, Query, State,
        rejection::{BytesRejection, PathRejection, QueryRejection},
    },
    http::StatusCode,
};
use serde::Deserialize;
use sha2::{Digest as _, Sha256};
use tokio::io::AsyncWriteExt as _;
use tokio_stream::StreamExt as _;
use utoipa::IntoParams;

use crate::{
    data::Card,
    domain::hexadecimal,
    service::{
        access::Caller,
        helper::{self, Helped},
        problem::{Problem, unwritable},
        state::App,
        wire::{DataList, ListedData, ListedModel, ModelList, SCHEMA, Uploaded},
    },
    store::UploadKind,
};

/// How long a client may be silent while it sends a file.
const SILENCE: Duration = Duration::from_secs(30);

/// How long looking into a model may take.
const CHECK_LIMIT: Duration = Duration::from_secs(120);

/// Largest card, bytes.
const CARD_BYTES_MAX: usize = 1 << 20;

/// Models that a search can name
#[utoipa::path(get, path = "/api/v1/models", tag = "models", responses((status = 200, body = ModelList)))]
pub async fn models(State(app): State<Arc<App>>) -> Result<Json<ModelList>, Problem> {
    Ok(Json(ModelList { schema: SCHEMA, models: listed_models(&app).await? }))
}

pub async fn listed_models(app: &Arc<App>) -> Result<Vec<ListedModel>, Problem> {
    let mut models = vec![ListedModel {
        id: "embedded".into(),
        name: "embedded digits network".into(),
        bytes: 0,
        kind: "built in".into(),
    }];
    for upload in app.store.uploads(UploadKind::Model).await? {
        models.push(ListedModel {
            id: format!("sha256:{}", upload.digest),
            name: upload.name,
            bytes: upload.size_bytes,
            kind: "uploaded".into(),
        });
    }
    let found = app.blocking(|app| Ok::<_, Problem>(app.files.models())).await?;
    models.extend(found.into_iter().map(|listed| ListedModel {
        name: listed.path.clone(),
        id: listed.path,
        bytes: listed.bytes,
        kind: "folder".into(),
    }));
    Ok(models)
}

/// Data that a search can name
#[utoipa::path(get, path = "/api/v1/data", tag = "models", responses((status = 200, body = DataList)))]
pub async fn data(State(app): State<Arc<App>>) -> Result<Json<DataList>, Problem> {
    Ok(Json(DataList { schema: SCHEMA, data: listed_data(&app).await? }))
}

pub async fn listed_data(app: &Arc<App>) -> Result<Vec<ListedData>, Problem> {
    let uploads = app.store.uploads(UploadKind::Data).await?.into_iter();
    let mut data: Vec<ListedData> = uploads
        .map(|upload| ListedData { path: format!("sha256:{}", upload.digest), name: upload.name })
        .collect();
    let found = app.blocking(|app| Ok::<_, Problem>(app.files.data())).await?;
    data.extend(
        found.into_iter().map(|listed| ListedData { name: listed.path.clone(), path: listed.path }),
    );
    Ok(data)
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct UploadQuery {
    /// File name: NAME.onnx or NAME.safetensors
    pub name: String,
}

/// Hand in a model or other weights for one
///
/// The body is the file itself. It is read once to see that it is what its name says.
#[utoipa::path(post, path = "/api/v1/models", tag = "models", params(UploadQuery),
    request_body(content = Vec<u8>, content_type = "application/octet-stream"),
    responses((status = 201, body = Uploaded), (status = 400, body = Problem, content_type = "application/problem+json"),
        (status = 413, body = Problem, content_type = "application/problem+json"),
        (status = 422, body = Problem, content_type = "application/problem+json")))]
pub async fn add_model(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    query: Result<Query<UploadQuery>, QueryRejection>,
    body: Body,
) -> Result<(StatusCode, Json<Uploaded>), Problem> {
    let Query(UploadQuery { name }) = query?;
    let ending = if name.to_lowercase().ends_with(".safetensors") { "safetensors" } else { "onnx" };
    let name = plain_name(&name, ending).map_err(Problem::bad_request)?;
    keep(&app, &caller, UploadKind::Model, name, body).await
}

/// Hand in data: a .safetensors file with images and labels, or with the network's inputs
#[utoipa::path(post, path = "/api/v1/data", tag = "models", params(UploadQuery),
    request_body(content = Vec<u8>, content_type = "application/octet-stream"),
    responses((status = 201, body = Uploaded), (status = 400, body = Problem, content_type = "application/problem+json"),
        (status = 413, body = Problem, content_type = "application/problem+json"),
        (status = 422, body = Problem, content_type = "application/problem+json")))]
pub async fn add_data(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    query: Result<Query<UploadQuery>, QueryRejection>,
    body: Body,
) -> Result<(StatusCode, Json<Uploaded>), Problem> {
    let Query(UploadQuery { name }) = query?;
    let name = plain_name(&name, "safetensors").map_err(Problem::bad_request)?;
    keep(&app, &caller, UploadKind::Data, name, body).await
}

/// Say how an uploaded model wants its images: its card (JSON)
#[utoipa::path(put, path = "/api/v1/models/{id}/card", tag = "models", params(("id" = String, Path)),
    request_body(content = serde_json::Value, content_type = "application/json"),
    responses((status = 204), (status = 404, body = Problem, content_type = "application/problem+json"),
        (status = 409, body = Problem, content_type = "application/problem+json"),
        (status = 422, body = Problem, content_type = "application/problem+json")))]
pub async fn put_card(
    State(app): State<Arc<App>>,
    id: Result<Path<String>, PathRejection>,
    body: Result<axum::body::Bytes, BytesRejection>,
) -> Result<StatusCode, Problem> {
    let (Path(id), body) = (id?, body?);
    let digest = id.strip_prefix("sha256:").unwrap_or(&id);
    let uploads = app.store.uploads(UploadKind::Model).await?;
    let upload = uploads.into_iter().find(|upload| upload.digest == digest);
    let upload =
        upload.ok_or_else(|| Problem::not_found(format!("{id:?} was not uploaded here")))?;
    if body.len() > CARD_BYTES_MAX {
        let told = format!("a card has at most {CARD_BYTES_MAX} bytes");
        return Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, told));
    }
    Card::parse("the card", &body).map_err(|error| Problem::unprocessable(error.to_string()))?;
    let path = app.files.upload_path(&upload.digest, &upload.name).with_extension("json");
    match tokio::fs::read(&path).await {
        Ok(known) if known == body => return Ok(StatusCode::NO_CONTENT),
        // Searches rest on it.
        Ok(_) => return Err(Problem::conflict("the model has another card already")),
        Err(_) => {}
    }
    tokio::fs::write(&path, &body).await.map_err(unwritable)?;
    Ok(StatusCode::NO_CONTENT)
}

/// Take an uploaded model away; searches that need it can then no longer go on
#[utoipa::path(delete, path = "/api/v1/models/{id}", tag = "models", params(("id" = String, Path)),
    responses((status = 204), (status = 404, body = Problem, content_type = "application/problem+json")))]
pub async fn delete_model(
    State(app): State<Arc<App>>,
    id: Result<Path<String>, PathRejection>,
) -> Result<StatusCode, Problem> {
    let Path(id) = id?;
    let digest = id.strip_prefix("sha256:").unwrap_or(&id).to_owned();
    let uploads = app.store.uploads(UploadKind::Model).await?;
    let Some(upload) = uploads.into_iter().find(|upload| upload.digest == digest) else {
        return Err(Problem::not_found(format!("{id:?} was not uploaded here")));
    };
    app.store.remove_upload(&upload.digest).await?;
    let path = app.files.upload_path(&upload.digest, &upload.name);
    if let Some(folder) = path.parent()
        && let Err(error) = tokio::fs::remove_dir_all(folder).await
    {
        tracing::warn!(%error, "an uploaded file could not be deleted");
    }
    Ok(StatusCode::NO_CONTENT)
}

/// A file name that is only that, with this ending.
///
/// # Errors
/// In words.
pub fn plain_name(name: &str, ending: &str) -> Result<String, String> {
    let stem = name.strip_suffix(&format!(".{ending}")).or_else(|| {
        // A profile is named without its ending.
        (ending == "toml").then_some(name)
    });
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    match stem {
        Some(stem)
            if !stem.is_empty()
                && stem.len() <= 100
                && !stem.starts_with('.')
                && stem.chars().all(is_plain) =>
        {
            Ok(format!("{stem}.{ending}"))
        }
        _ => Err(format!(
            "{name:?} is not a file name of letters, digits, '-', '_' and '.', ending in .{ending}"
        )),
    }
}

/// Writes the body beside, looks into it, and gives it its place.
async fn keep(
    app: &Arc<App>,
    caller: &Caller,
    kind: UploadKind,
    name: String,
    body: Body,
) -> Result<(StatusCode, Json<Uploaded>), Problem> {
    let folder = tempfile::tempdir_in(app.files.work_folder()).map_err(unwritable)?;
    let path = folder.path().join(&name);
    let (digest, bytes) = receive(body, &path, app.settings.upload_bytes_max).await?;
    let known = app.store.uploads(kind).await?.into_iter().find(|upload| upload.digest == digest);
    if let Some(known) = known {
        let id = format!("sha256:{digest}");
        return Ok((
            StatusCode::CREATED,
            Json(Uploaded { schema: SCHEMA, id, name: known.name, bytes }),
        ));
    }
    check(app, &path).await?;
    let place = app.files.upload_path(&digest, &name);
    let parent = place.parent().expect("an upload lies in a folder of its own");
    tokio::fs::create_dir_all(parent).await.map_err(unwritable)?;
    tokio::fs::rename(&path, &place).await.map_err(unwritable)?;
    app.store.add_upload(&digest, kind, &name, bytes, &caller.name).await?;
    let uploaded = Uploaded { schema: SCHEMA, id: format!("sha256:{digest}"), name, bytes };
    Ok((StatusCode::CREATED, Json(uploaded)))
}

/// # Errors
/// 413 above the limit, 408 where the client falls silent.
async fn receive(body: Body, path: &FilePath, bytes_max: u64) -> Result<(String, u64), Problem> {
    let mut file = tokio::fs::File::create(path).await.map_err(unwritable)?;
    let (mut hasher, mut bytes) = (Sha256::new(), 0_u64);
    let mut stream = body.into_data_stream();
    loop {
        let next = tokio::time::timeout(SILENCE, stream.next()).await.map_err(|_| {
            Problem::new(StatusCode::REQUEST_TIMEOUT, "the client stopped sending its file")
        })?;
        let Some(chunk) = next else { break };
        let chunk = chunk.map_err(|error| Problem::bad_request(format!("the body: {error}")))?;
        bytes += chunk.len() as u64;
        if bytes > bytes_max {
            let told = format!("a file has at most {bytes_max} bytes here (upload_bytes_max)");
            return Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, told));
        }
        hasher.update(&chunk);
        file.write_all(&chunk).await.map_err(unwritable)?;
    }
    file.flush().await.map_err(unwritable)?;
    file.sync_all().await.map_err(unwritable)?;
    Ok((hexadecimal(&hasher.finalize()), bytes))
}

/// Looks into a file in a process of its own.
async fn check(app: &App, path: &FilePath) -> Result<(), Problem> {
    if path.extension().is_some_and(|ending| ending == "safetensors") {
        let path = path.to_owned();
        let head = tokio::task::spawn_blocking(move || safetensors_header(&path));
        return head.await.map_err(Problem::internal)?.map_err(Problem::unprocessable);
    }
    let arguments: Vec<OsString> =
        vec!["model".into(), "inspect".into(), path.into(), "--json".into()];
    match helper::run(app, arguments, CHECK_LIMIT).await? {
        Some(Helped::Done { .. }) => Ok(()),
        // Its sizes are told by what feeds it.
        Some(Helped::Refused { reason }) if reason.contains("--input-shape") => Ok(()),
        Some(Helped::Refused { reason }) => Err(Problem::unprocessable(reason)),
        None => Err(Problem::unprocessable("looking into the model took too long")),
    }
}

/// Whether a file begins as a .safetensors file does: the length of its header, then JSON.
fn safetensors_header(path: &FilePath) -> Result<(), String> {
    use std::io::Read as _;
    let mut file = std::fs::File::open(path).map_err(|error| error.to_string())?;
    let mut length = [0_u8; 8];
    let wrong = "the file is not a .safetensors file: ";
    file.read_exact(&mut length).map_err(|_| format!("{wrong}it is too short"))?;
    let length = u64::from_le_bytes(length);
    if length > 100 << 20 {
        return Err(format!("{wrong}its header would have {length} bytes"));
    }
    let mut header = Vec::new();
    file.take(length).read_to_end(&mut header).map_err(|error| error.to_string())?;
    let parsed: Result<serde_json::Map<String, serde_json::Value>, _> =
        serde_json::from_slice(&header);
    parsed.map(|_| ()).map_err(|error| format!("{wrong}its header is no JSON: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_only_names() {
        for (name, ending, expected) in [
            ("net.onnx", "onnx", Some("net.onnx")),
            ("a-b_c.1.onnx", "onnx", Some("a-b_c.1.onnx")),
            ("edge", "toml", Some("edge.toml")),
            ("../net.onnx", "onnx", None),
            ("a/b.onnx", "onnx", None),
            (".onnx", "onnx", None),
            ("..onnx", "onnx", None),
            ("net.pkl", "onnx", None),
            ("net.onnx\n", "onnx", None),
            ("näh.onnx", "onnx", None),
        ] {
            assert_eq!(plain_name(name, ending).ok().as_deref(), expected, "{name:?}");
        }
    }
}

//! Hardware profiles: listed, shown, checked, handed in.

use std::{ffi::OsString, sync::Arc, time::Duration};

use axum::{
    Extension, Json,
    body::Bytes,
    extract::{
        Path, State,
        rejection::{BytesRejection, PathRejection},
    },
    http::{StatusCode, header},
    response::{IntoResponse as _, Response},
};
use haq_simulator::HardwareProfile;
use sha2::{Digest as _, Sha256};

use crate::{
    domain::{Bits, hexadecimal},
    runner::Places as _,
    service::{
        access::Caller,
        files::Named,
        helper::{self, Helped},
        problem::{Problem, unwritable},
        state::App,
        uploads::plain_name,
        wire::{ListedProfile, ProfileDetail, ProfileList, SCHEMA, Uploaded},
    },
    store::UploadKind,
};

/// How long drawing a roofline may take.
const ROOFLINE_LIMIT: Duration = Duration::from_secs(30);

/// Profiles that a search can name
#[utoipa::path(get, path = "/api/v1/profiles", tag = "profiles", responses((status = 200, body = ProfileList)))]
pub async fn list(State(app): State<Arc<App>>) -> Result<Json<ProfileList>, Problem> {
    Ok(Json(ProfileList { schema: SCHEMA, profiles: listed(&app).await? }))
}

pub async fn listed(app: &App) -> Result<Vec<ListedProfile>, Problem> {
    let places = Named::new(&app.files, &app.store).await?;
    let of = |(name, source): (String, &str)| {
        let description = match places.profile(&name) {
            Ok(found) => match found.parse() {
                Ok(profile) => describe(&profile),
                Err(error) => error.to_string(),
            },
            Err(reason) => reason,
        };
        ListedProfile { name, source: source.into(), description }
    };
    Ok(places.profile_names().into_iter().map(of).collect())
}

fn describe(profile: &HardwareProfile) -> String {
    let choices = profile.choices();
    let widths = |bits: &[Bits]| match bits {
        // All there are between two.
        [first, .., last] if usize::from(last.get() - first.get()) + 1 == bits.len() => {
            format!("{first} to {last}")
        }
        bits => bits.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
    };
    let about = match profile.description() {
        "" => String::new(),
        description => format!("{description}; "),
    };
    format!(
        "{about}{}, weights of {} bits, activations of {}",
        profile.family(),
        widths(&choices.weight_bits),
        widths(&choices.activation_bits)
    )
}

/// One profile
#[utoipa::path(get, path = "/api/v1/profiles/{name}", tag = "profiles", params(("name" = String, Path, example = "edge-tpu")),
    responses((status = 200, body = ProfileDetail),
        (status = 404, body = Problem, content_type = "application/problem+json"),
        (status = 422, body = Problem, content_type = "application/problem+json")))]
pub async fn show(
    State(app): State<Arc<App>>,
    name: Result<Path<String>, PathRejection>,
) -> Result<Json<ProfileDetail>, Problem> {
    let Path(name) = name?;
    Ok(Json(detail(&app, &name).await?))
}

pub async fn detail(app: &App, name: &str) -> Result<ProfileDetail, Problem> {
    let places = Named::new(&app.files, &app.store).await?;
    let found = places.profile(name).map_err(Problem::not_found)?;
    let profile = found.parse().map_err(|error| Problem::unprocessable(error.to_string()))?;
    let stem = name.strip_suffix(".toml").unwrap_or(name);
    let names = places.profile_names();
    let source = names.iter().find(|(known, _)| known == stem).map_or("uploaded", |(_, s)| s);
    let numbers = |bits: &[Bits]| bits.iter().map(|bits| bits.get()).collect();
    let choices = profile.choices();
    Ok(ProfileDetail {
        schema: SCHEMA,
        name: profile.name().into(),
        source: source.into(),
        description: describe(&profile),
        weight_bits: numbers(&choices.weight_bits),
        activation_bits: numbers(&choices.activation_bits),
        batch: profile.batch(),
        toml: found.text,
    })
}

/// The embedded network's layers under the roofs of a device, all at 8/8
#[utoipa::path(get, path = "/api/v1/profiles/{name}/roofline.svg", tag = "profiles",
    params(("name" = String, Path, example = "edge-tpu")), responses((status = 200, content_type = "image/svg+xml"),
        (status = 404, body = Problem, content_type = "application/problem+json"),
        (status = 422, body = Problem, content_type = "application/problem+json")))]
pub async fn roofline(
    State(app): State<Arc<App>>,
    name: Result<Path<String>, PathRejection>,
) -> Result<Response, Problem> {
    let Path(name) = name?;
    let places = Named::new(&app.files, &app.store).await?;
    let found = places.profile(&name).map_err(Problem::not_found)?;
    let digest = hexadecimal(&Sha256::digest(found.text.as_bytes()));
    let kept = app.files.exports_folder().join(format!("roofline-{digest}.svg"));
    if !tokio::fs::try_exists(&kept).await.unwrap_or(false) {
        let folder = tempfile::tempdir_in(app.files.work_folder()).map_err(unwritable)?;
        let (profile, plot) = (folder.path().join("profile.toml"), folder.path().join("plot.svg"));
        tokio::fs::write(&profile, &found.text).await.map_err(unwritable)?;
        let mut arguments: Vec<OsString> = vec!["simulate".into(), "--hw".into(), profile.into()];
        arguments.extend(["--bits".into(), "8,8".into(), "--json".into(), "--roofline".into()]);
        arguments.push(plot.clone().into());
        match helper::run(&app, arguments, ROOFLINE_LIMIT).await? {
            Some(Helped::Done { .. }) => {}
            Some(Helped::Refused { reason }) => return Err(Problem::unprocessable(reason)),
            None => return Err(Problem::internal("drawing a roofline took too long")),
        }
        tokio::fs::rename(&plot, &kept).await.map_err(unwritable)?;
    }
    let svg = tokio::fs::read(&kept).await.map_err(Problem::internal)?;
    Ok(([(header::CONTENT_TYPE, "image/svg+xml")], svg).into_response())
}

/// Check a profile's text (TOML) without keeping it
#[utoipa::path(post, path = "/api/v1/profiles/check", tag = "profiles",
    request_body(content = String, content_type = "text/plain"),
    responses((status = 200, body = ListedProfile),
        (status = 422, body = Problem, content_type = "application/problem+json")))]
pub async fn check(body: Result<Bytes, BytesRejection>) -> Result<Json<ListedProfile>, Problem> {
    let body = body?;
    let (profile, _) = parse(&body)?;
    let description = describe(&profile);
    Ok(Json(ListedProfile { name: profile.name().into(), source: "checked".into(), description }))
}

/// Hand in a profile (TOML); it is named as it names itself
#[utoipa::path(post, path = "/api/v1/profiles", tag = "profiles",
    request_body(content = String, content_type = "text/plain"),
    responses((status = 201, body = Uploaded),
        (status = 409, body = Problem, content_type = "application/problem+json"),
        (status = 422, body = Problem, content_type = "application/problem+json")))]
pub async fn add(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    body: Result<Bytes, BytesRejection>,
) -> Result<(StatusCode, Json<Uploaded>), Problem> {
    Ok((StatusCode::CREATED, Json(keep(&app, &caller, &body?).await?)))
}

pub async fn keep(app: &App, caller: &Caller, body: &[u8]) -> Result<Uploaded, Problem> {
    let (profile, text) = parse(body)?;
    let name = plain_name(profile.name(), "toml")
        .map_err(|reason| Problem::unprocessable(format!("name: {reason}")))?;
    let digest = hexadecimal(&Sha256::digest(text.as_bytes()));
    let places = Named::new(&app.files, &app.store).await?;
    let stem = name.trim_end_matches(".toml");
    let taken = places.profile_names().into_iter().any(|(known, _)| known == stem);
    let same = places.profile(stem).is_ok_and(|found| found.text == text);
    if taken && !same {
        return Err(Problem::conflict(format!(
            "there is another profile named {stem}; give this one a name of its own"
        )));
    }
    if !taken {
        let path = app.files.upload_path(&digest, &name);
        let folder = path.parent().expect("an upload lies in a folder of its own");
        tokio::fs::create_dir_all(folder).await.map_err(unwritable)?;
        tokio::fs::write(&path, text).await.map_err(unwritable)?;
        let bytes = body.len() as u64;
        app.store.add_upload(&digest, UploadKind::Profile, &name, bytes, &caller.name).await?;
    }
    let bytes = body.len() as u64;
    Ok(Uploaded { schema: SCHEMA, id: format!("sha256:{digest}"), name, bytes })
}

fn parse(body: &[u8]) -> Result<(HardwareProfile, &str), Problem> {
    let text = std::str::from_utf8(body)
        .map_err(|error| Problem::unprocessable(format!("the profile is no text: {error}")))?;
    let profile = HardwareProfile::parse(text, "the profile")
        .map_err(|error| Problem::unprocessable(error.to_string()))?;
    Ok((profile, text))
}

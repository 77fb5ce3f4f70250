//! Every route on one screen.

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    extract::{DefaultBodyLimit, Request},
    http::{StatusCode, Uri},
    middleware::{self, Next},
    response::{IntoResponse as _, Response},
};
use tower_http::{catch_panic::CatchPanicLayer, compression::CompressionLayer};
use utoipa::OpenApi as _;
use utoipa_axum::{router::OpenApiRouter, routes};
use utoipa_swagger_ui::SwaggerUi;

use crate::service::{
    drawings, events, fleet, guard, metrics, pages, problem::Problem, profiles, results, searches,
    state::App, submissions, uploads,
};

#[derive(utoipa::OpenApi)]
#[openapi(
    info(
        title = "haq",
        description = "Searches for the bitwidths of a network's layers on a device: hand in, watch, compare, export."
    ),
    tags(
        (name = "searches", description = "Hand in, list, stop and send on"),
        (name = "results", description = "What a search found"),
        (name = "files", description = "Plots, reports and exports"),
        (name = "events", description = "What happens, as it happens"),
        (name = "profiles", description = "Hardware"),
        (name = "models", description = "Networks and data"),
        (name = "fleet", description = "Workers that judge for the searches"),
        (name = "service", description = "The service itself")
    ),
    components(schemas(Problem))
)]
struct Description;

/// Routes that answer within the time a request has.
fn quick() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(searches::list, submissions::submit))
        .routes(routes!(searches::show, searches::annotate, searches::delete))
        .routes(routes!(searches::cancel))
        .routes(routes!(searches::pause))
        .routes(routes!(searches::resume))
        .routes(routes!(results::episodes))
        .routes(routes!(results::points))
        .routes(routes!(results::front))
        .routes(routes!(results::policy))
        .routes(routes!(results::layers))
        .routes(routes!(results::compare))
        .routes(routes!(drawings::plot))
        .routes(routes!(drawings::report))
        .routes(routes!(drawings::record))
        .routes(routes!(profiles::list, profiles::add))
        .routes(routes!(profiles::check))
        .routes(routes!(profiles::show))
        .routes(routes!(profiles::roofline))
        .routes(routes!(uploads::delete_model))
        .routes(routes!(uploads::put_card))
        .routes(routes!(fleet::show))
        .routes(routes!(fleet::retry))
        .routes(routes!(fleet::discard))
        .routes(routes!(metrics::health))
        .routes(routes!(metrics::ready))
        .routes(routes!(metrics::metrics))
}

/// Routes that take the time they need: files that come in, exports, streams.
fn patient() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(drawings::export))
        .routes(routes!(events::all))
        .routes(routes!(events::of_search))
}

/// Files that come in: their own limit on size.
fn uploads_in() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(uploads::models, uploads::add_model))
        .routes(routes!(uploads::data, uploads::add_data))
        .layer(DefaultBodyLimit::disable())
}

/// All routes, and what describes them.
pub fn routes(app: &App) -> (Router<Arc<App>>, utoipa::openapi::OpenApi) {
    let limit = Duration::from_secs(app.settings.request_timeout_s);
    let in_time = middleware::from_fn(move |request, next| in_time(limit, request, next));
    OpenApiRouter::with_openapi(Description::openapi())
        .merge(quick().layer(in_time))
        .merge(patient())
        .merge(uploads_in())
        .split_for_parts()
}

pub fn router(app: Arc<App>) -> Router {
    let (api, description) = routes(&app);
    api.merge(pages::routes())
        .merge(SwaggerUi::new("/docs").url("/api/v1/openapi.json", description))
        .fallback(unknown)
        .method_not_allowed_fallback(wrong_method)
        .layer(DefaultBodyLimit::max(app.settings.body_bytes_max as usize))
        .layer(middleware::from_fn_with_state(app.clone(), guard::guard))
        .layer(middleware::from_fn_with_state(app.clone(), metrics::count))
        .layer(CompressionLayer::new())
        .layer(CatchPanicLayer::custom(|_panic| {
            Problem::internal("a handler panicked").into_response()
        }))
        .layer(middleware::from_fn(guard::protect))
        .with_state(app)
}

/// Answers at the latest after `limit`.
async fn in_time(limit: Duration, request: Request, next: Next) -> Response {
    match tokio::time::timeout(limit, next.run(request)).await {
        Ok(response) => response,
        Err(_) => {
            let told = format!("no answer within {} s (request_timeout_s)", limit.as_secs());
            Problem::new(StatusCode::GATEWAY_TIMEOUT, told).into_response()
        }
    }
}

async fn unknown(uri: Uri) -> Response {
    let problem = Problem::not_found(format!("{}: there is no such thing here", uri.path()));
    if guard::wants_page(uri.path()) {
        return pages::problem_page(&problem);
    }
    problem.into_response()
}

async fn wrong_method() -> Problem {
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, "this is not done here; /docs shows what is")
}

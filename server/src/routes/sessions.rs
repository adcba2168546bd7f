//! `GET /sessions` and `DELETE /sessions/{id}`: the sessions of whoever is signed in.
//!
//! What is shown names a session and opens none: an id is in every access token, and makes no token.

use actix_web::web::{Data, Path};
use actix_web::{HttpRequest, HttpResponse};
use jiff::Timestamp;
use serde::Serialize;

use super::ApiError;
use super::bearer::caller;
use crate::auth::Auth;
use crate::domain::{SessionId, UnixMillis};

#[derive(Serialize)]
struct SessionsBody {
    sessions: Vec<SessionBody>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct SessionBody {
    id: String,
    created_at: String,
    last_refreshed_at: String,
    expires_at: String,
    current: bool,
}

/// Answers the caller's sessions that still live, the latest first.
pub(super) async fn list(auth: Data<Auth>, request: HttpRequest) -> Result<HttpResponse, ApiError> {
    let caller = caller(&auth, &request).await?;
    let session = |session: crate::ports::SessionSummary| SessionBody {
        id: session.id.to_string(),
        created_at: moment(session.created_at),
        last_refreshed_at: moment(session.refreshed_at),
        expires_at: moment(session.expires_at),
        current: session.id == caller.session,
    };
    let sessions = auth.sessions(caller).await?.into_iter().map(session).collect();
    Ok(HttpResponse::Ok().json(SessionsBody { sessions }))
}

/// Ends a session of the caller's own. Of another user's it says what it says of none.
pub(super) async fn delete(auth: Data<Auth>, request: HttpRequest, id: Path<String>) -> Result<HttpResponse, ApiError> {
    let caller = caller(&auth, &request).await?;
    let id = SessionId::parse(&id).ok_or(ApiError::NotFound)?;
    if auth.revoke_session(caller, id).await? {
        Ok(HttpResponse::NoContent().finish())
    } else {
        Err(ApiError::NotFound)
    }
}

/// Writes a moment as [RFC 3339](https://www.rfc-editor.org/rfc/rfc3339) with its milliseconds.
fn moment(at: UnixMillis) -> String {
    let at = Timestamp::from_millisecond(at.0).unwrap_or_default();
    format!("{at:.3}")
}

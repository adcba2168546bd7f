//! The peppers as the operator sees them, and how they are replaced.

use super::secret::Pepper;
use super::{Needs, PepperError, PepperSource, Peppers, find, throttle_key};
use crate::ports::{KeyStore, PepperId};

/// What one pepper does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// It is the newest: new sessions and signing keys are made with it.
    Newest,
    /// It goes on with what was made with it.
    Older,
    /// The database knows it, but it is not given.
    Absent,
}

/// A pepper as the operator sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listed {
    /// The number under which the database knows it; none before the first start of a server with it.
    pub id: Option<PepperId>,
    /// What it does.
    pub role: Role,
    /// What needs it.
    pub needs: Option<Needs>,
}

/// Lists the peppers that are given, the newest first, then those that the database knows besides. Changes nothing.
pub async fn list(source: &PepperSource, store: &dyn KeyStore) -> Result<Vec<Listed>, PepperError> {
    let roles = roles(source, store).await?;
    let keys = store.signing_keys().await?;
    let mut lines = Vec::new();
    for (id, role) in roles {
        let needs = match id {
            Some(id) => Some(Needs::of(id, &keys, store).await?),
            None => None,
        };
        lines.push(Listed { id, role, needs });
    }
    Ok(lines)
}

/// Puts a new pepper before the present one, if servers have been started with that.
pub async fn rotate(source: &PepperSource, store: &dyn KeyStore) -> Result<(), PepperError> {
    let roles = roles(source, store).await?;
    let present = roles.iter().any(|(_, role)| *role != Role::Absent);
    if present && roles.iter().all(|(id, role)| *role == Role::Absent || id.is_none()) {
        return Err(PepperError::Mismatch);
    }
    if roles.iter().any(|(id, _)| id.is_none()) {
        return Err(PepperError::Waiting);
    }
    let newest = roles.iter().filter(|(_, role)| *role != Role::Absent).filter_map(|(id, _)| *id).max();
    let newer = roles.iter().filter_map(|(id, _)| *id).filter(|id| Some(*id) > newest).max();
    if let (Some(newer), Some(_)) = (newer, newest) {
        return Err(PepperError::NewerMissing(newer));
    }
    source.rotate()
}

/// A pepper that is lost.
#[derive(Debug)]
pub struct Lost {
    /// What ends when it is forgotten.
    pub needs: Needs,
    /// Those that are left; none if the database knows none of those that are given.
    pub rest: Option<Peppers>,
}

/// Looks at a pepper that is to be forgotten. One that is given is not lost, and is refused.
pub async fn lost(source: &PepperSource, store: &dyn KeyStore, id: PepperId) -> Result<Lost, PepperError> {
    let known = store.known_peppers().await?;
    if known.iter().all(|known| known.id != id) {
        return Err(PepperError::Unknown(id));
    }
    let all: Vec<_> = given(source)?.into_iter().filter_map(|pepper| Some((find(&pepper, &known)?, pepper))).collect();
    if all.iter().any(|(known, _)| known.id == id) {
        return Err(PepperError::NotLost(id));
    }
    let needs = Needs::of(id, &store.signing_keys().await?, store).await?;
    let throttle_key = all.first().map(|(known, pepper)| throttle_key(pepper, known)).transpose()?;
    let all = all.into_iter().map(|(known, pepper)| (known.id, pepper)).collect();
    Ok(Lost { needs, rest: throttle_key.map(|throttle_key| Peppers { all, throttle_key, newer_waits: false }) })
}

/// Returns the number and the role of each pepper, in the order of [`list`].
async fn roles(source: &PepperSource, store: &dyn KeyStore) -> Result<Vec<(Option<PepperId>, Role)>, PepperError> {
    let known = store.known_peppers().await?;
    let mut roles = Vec::new();
    for (at, pepper) in given(source)?.iter().enumerate() {
        let id = find(pepper, &known).map(|known| known.id);
        roles.push((id, if at == 0 { Role::Newest } else { Role::Older }));
    }
    let absent = known.iter().filter(|known| !roles.iter().any(|(id, _)| *id == Some(known.id)));
    let absent: Vec<_> = absent.map(|known| (Some(known.id), Role::Absent)).collect();
    roles.extend(absent);
    Ok(roles)
}

/// Returns the peppers that are given, the newest first; makes none.
fn given(source: &PepperSource) -> Result<Vec<Pepper>, PepperError> {
    Ok(source.read()?.unwrap_or_default().into_iter().map(Pepper).collect())
}

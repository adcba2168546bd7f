//! The server's keys in PostgreSQL.

use async_trait::async_trait;
use sqlx::Row as _;
use sqlx::postgres::PgRow;

use super::errors::store_error;
use super::{PostgresStore, now};
use crate::domain::KeyId;
use crate::ports::{KeyStore, KnownPepper, PepperId, SealedKey, StoreError};
use crate::store::corrupt;

const KNOWN_PEPPER: &str = "SELECT id, check_value FROM peppers ORDER BY id DESC LIMIT 1";

/// The first pepper has the number 1, so of two servers that start at once one finds it taken.
const BIND_PEPPER: &str = concat!(
    "INSERT INTO peppers (id, check_value, created_at) SELECT 1, $1, ",
    now!(),
    " WHERE NOT EXISTS (SELECT 1 FROM peppers) ON CONFLICT DO NOTHING"
);

const SIGNING_KEYS: &str =
    "SELECT kid, sealed, pepper_id FROM signing_keys WHERE algorithm = 'EdDSA' ORDER BY created_at DESC, kid";

/// Held to the end of the transaction: two servers that start at once make one first key.
const LOCK_KEYS: &str = "LOCK TABLE signing_keys IN SHARE ROW EXCLUSIVE MODE";

const ADD_FIRST_KEY: &str = concat!(
    "INSERT INTO signing_keys (kid, algorithm, sealed, pepper_id, created_at) SELECT $1, 'EdDSA', $2, $3, ",
    now!(),
    " WHERE NOT EXISTS (SELECT 1 FROM signing_keys)"
);

#[async_trait]
impl KeyStore for PostgresStore {
    async fn known_pepper(&self) -> Result<Option<KnownPepper>, StoreError> {
        let rows = self.run(|| sqlx::query(KNOWN_PEPPER)).await?.rows;
        rows.first().map(known_pepper).transpose().map_err(store_error)
    }

    async fn bind_pepper(&self, check_value: &[u8]) -> Result<KnownPepper, StoreError> {
        self.run(|| sqlx::query(BIND_PEPPER).bind(check_value)).await?;
        self.known_pepper().await?.ok_or_else(|| corrupt("no pepper after binding one"))
    }

    async fn signing_keys(&self) -> Result<Vec<SealedKey>, StoreError> {
        let rows = self.run(|| sqlx::query(SIGNING_KEYS)).await?.rows;
        rows.iter().map(sealed_key).collect::<Result<_, _>>().map_err(store_error)
    }

    async fn add_first_signing_key(&self, key: &SealedKey) -> Result<(), StoreError> {
        let mut transaction = self.pool.begin().await.map_err(store_error)?;
        sqlx::query(LOCK_KEYS).execute(&mut *transaction).await.map_err(store_error)?;
        sqlx::query(ADD_FIRST_KEY)
            .bind(&key.id.0)
            .bind(&key.sealed)
            .bind(key.pepper_id.0)
            .execute(&mut *transaction)
            .await
            .map_err(store_error)?;
        transaction.commit().await.map_err(store_error)
    }
}

fn known_pepper(row: &PgRow) -> Result<KnownPepper, sqlx::Error> {
    Ok(KnownPepper { id: PepperId(row.try_get("id")?), check_value: row.try_get("check_value")? })
}

fn sealed_key(row: &PgRow) -> Result<SealedKey, sqlx::Error> {
    Ok(SealedKey {
        id: KeyId(row.try_get("kid")?),
        sealed: row.try_get("sealed")?,
        pepper_id: PepperId(row.try_get("pepper_id")?),
    })
}

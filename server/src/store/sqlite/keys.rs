//! The server's keys in SQLite.

use async_trait::async_trait;

use super::{SqliteStore, now, store_error};
use crate::domain::KeyId;
use crate::ports::{KeyStore, KnownPepper, PepperId, SealedKey, StoreError};
use crate::store::corrupt;

const KNOWN_PEPPER: &str = "SELECT id, check_value FROM peppers ORDER BY id DESC LIMIT 1";

const BIND_PEPPER: &str = concat!(
    "INSERT INTO peppers (check_value, created_at) SELECT ?1, ",
    now!(),
    " WHERE NOT EXISTS (SELECT 1 FROM peppers)"
);

const SIGNING_KEYS: &str =
    "SELECT kid, sealed, pepper_id FROM signing_keys WHERE algorithm = 'EdDSA' ORDER BY created_at DESC, kid";

const ADD_FIRST_KEY: &str = concat!(
    "INSERT INTO signing_keys (kid, algorithm, sealed, pepper_id, created_at) SELECT ?1, 'EdDSA', ?2, ?3, ",
    now!(),
    " WHERE NOT EXISTS (SELECT 1 FROM signing_keys)"
);

#[async_trait]
impl KeyStore for SqliteStore {
    async fn known_pepper(&self) -> Result<Option<KnownPepper>, StoreError> {
        let row = sqlx::query_as::<_, (i64, Vec<u8>)>(KNOWN_PEPPER)
            .fetch_optional(&self.readers)
            .await
            .map_err(store_error)?;
        Ok(row.map(|(id, check_value)| KnownPepper { id: PepperId(id), check_value }))
    }

    async fn bind_pepper(&self, check_value: &[u8]) -> Result<KnownPepper, StoreError> {
        sqlx::query(BIND_PEPPER).bind(check_value).execute(&self.writer).await.map_err(store_error)?;
        self.known_pepper().await?.ok_or_else(|| corrupt("no pepper after binding one"))
    }

    async fn signing_keys(&self) -> Result<Vec<SealedKey>, StoreError> {
        let rows = sqlx::query_as::<_, (String, Vec<u8>, i64)>(SIGNING_KEYS)
            .fetch_all(&self.readers)
            .await
            .map_err(store_error)?;
        let key = |(kid, sealed, pepper_id)| SealedKey { id: KeyId(kid), sealed, pepper_id: PepperId(pepper_id) };
        Ok(rows.into_iter().map(key).collect())
    }

    async fn add_first_signing_key(&self, key: &SealedKey) -> Result<(), StoreError> {
        sqlx::query(ADD_FIRST_KEY)
            .bind(&key.id.0)
            .bind(&key.sealed)
            .bind(key.pepper_id.0)
            .execute(&self.writer)
            .await
            .map_err(store_error)?;
        Ok(())
    }
}

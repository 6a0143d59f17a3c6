//! Configurations that may be signed, the keys that tell who signed, and what they tell of results.

use super::{Place, Provider, StorageError, StorageErrorKind};
use crate::job::{BackendConfig, BackendName, Document, JobId, KeyId};
use crate::signing::{self, PrivateKey, PublicKey, Verdict, is_signed_by};

impl Provider {
    /// Stores the first configuration of a backend; with a key, signed by it.
    pub async fn upload_config(
        &self,
        backend: &BackendName,
        config: &BackendConfig,
        key: Option<&PrivateKey>,
    ) -> Result<(), StorageError> {
        let document = self.signed(&Document::new(config), key)?;
        self.storage()?.upload(Place::Configs, &backend.into(), &document).await
    }

    /// Replaces the configuration of a backend; with a key, signed by it. What [`check_owner`](Self::check_owner) refuses
    /// stays as it is.
    pub async fn update_config(
        &self,
        backend: &BackendName,
        config: &BackendConfig,
        key: Option<&PrivateKey>,
    ) -> Result<(), StorageError> {
        self.check_owner(backend, key).await?;
        let document = self.signed(&Document::new(config), key)?;
        self.storage()?.update(Place::Configs, &backend.into(), &document).await
    }

    /// Says whether the configuration of a backend may be replaced: one that is signed only with the key that has signed
    /// it. Otherwise the error names that key. `NotFound` where there is no configuration.
    pub async fn check_owner(&self, backend: &BackendName, key: Option<&PrivateKey>) -> Result<(), StorageError> {
        let before = self.storage()?.get(Place::Configs, &backend.into()).await?;
        let Some(signed) = before.signed() else { return Ok(()) };
        if key.is_some_and(|key| is_signed_by(&signed, &key.public())) {
            return Ok(());
        }
        let kid = signed.kid();
        let why = match key {
            None => "and cannot be replaced without it; serve the backend with sign = true and that key".to_owned(),
            Some(key) if key.kid() == kid => {
                "but not by the one that is here under this kid, or it was altered since".to_owned()
            }
            Some(key) => format!("and cannot be replaced with the key {:?}, which is the one here", key.kid()),
        };
        let what = format!(
            "the configuration of {backend} at the storage {} is signed by the key {kid:?}, {why}; else give this backend \
             another name, or remove that configuration",
            self.name()
        );
        Err(StorageError::new(StorageErrorKind::Refused, what))
    }

    /// Publishes a public key under its kid. Another key of that kid stays, and the call is refused.
    pub async fn upload_public_key(&self, key: &PublicKey) -> Result<(), StorageError> {
        let storage = self.storage()?;
        let kid: KeyId = key.kid().parse().map_err(|error| self.refused("cannot take a key").caused_by(error))?;
        match storage.upload(Place::PublicKeys, &(&kid).into(), &key.to_document()).await {
            Err(error) if error.kind() == StorageErrorKind::AlreadyExists => {}
            stored => return stored,
        }
        match self.get_public_key(&kid).await {
            Ok(published) if published == *key => Ok(()),
            Err(error) if error.is_temporary() => Err(error),
            _ => Err(self.refused(&format!("has another key under the kid {kid}; make a key with a kid of its own"))),
        }
    }

    /// The public key that was published under a kid.
    pub async fn get_public_key(&self, kid: &KeyId) -> Result<PublicKey, StorageError> {
        let document = self.storage()?.get(Place::PublicKeys, &kid.into()).await?;
        let text = String::from_utf8_lossy(document.text());
        PublicKey::parse(&text).map_err(|error| self.refused(&format!("has a bad key under {kid}")).caused_by(error))
    }

    /// What is known of who wrote the result of a job: whether it is as the key that the backend publishes signed it.
    ///
    /// As in the reference the result of a backend that does not sign is not valid, without being an error. With
    /// `trusted` that key counts in place of the published one, which is only as safe as the storage.
    pub async fn verify_result(
        &self,
        backend: &BackendName,
        job_id: &JobId,
        trusted: Option<&PublicKey>,
    ) -> Result<Verdict, StorageError> {
        let document = self.get_result(backend, job_id).await?;
        let Some(signed) = document.signed() else { return Ok(Verdict::NotSigned) };
        let kid = signed.kid();
        let published = match trusted {
            Some(key) => Some(key.clone()),
            None => match unless_missing(self.get_config(backend).await)?.and_then(|config| config.kid) {
                Some(kid) => self.key_of(&kid).await?,
                None => None,
            },
        };
        if published.as_ref().is_some_and(|key| is_signed_by(&signed, key)) {
            return Ok(Verdict::Valid { kid });
        }
        if kid.is_empty() || published.is_some_and(|key| key.kid() == kid) {
            return Ok(Verdict::Altered { kid });
        }
        Ok(match self.key_of(&kid).await? {
            Some(key) if is_signed_by(&signed, &key) => Verdict::OtherKey { kid },
            Some(_) => Verdict::Altered { kid },
            None => Verdict::UnknownKey { kid },
        })
    }

    /// The key of a kid that stands in a document; none where there is none that can be used.
    async fn key_of(&self, kid: &str) -> Result<Option<PublicKey>, StorageError> {
        let Ok(kid) = kid.parse() else { return Ok(None) };
        match self.get_public_key(&kid).await {
            Err(error) if error.kind() == StorageErrorKind::Refused => {
                tracing::warn!(%error, "a public key is left out");
                Ok(None)
            }
            found => unless_missing(found),
        }
    }

    /// The document, signed if there is a key.
    pub(super) fn signed(&self, document: &Document, key: Option<&PrivateKey>) -> Result<Document, StorageError> {
        match key {
            None => Ok(document.clone()),
            Some(key) => signing::sign(document, key)
                .map_err(|error| self.refused("cannot have a document signed").caused_by(error)),
        }
    }

    fn refused(&self, why: &str) -> StorageError {
        StorageError::new(StorageErrorKind::Refused, format!("the storage {} {why}", self.name()))
    }
}

/// None where the document is missing.
fn unless_missing<T>(found: Result<T, StorageError>) -> Result<Option<T>, StorageError> {
    match found {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.kind() == StorageErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

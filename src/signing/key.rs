//! Ed25519 keys in the form of JWK (RFC 8037) as the reference writes it.

use std::borrow::Cow;

use base64::Engine;
use base64::engine::general_purpose::{URL_SAFE, URL_SAFE_PAD_INDIFFERENT};
use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::job::{Document, KeyId, NameError};
use crate::secret::Secret;

/// A text that is no key. It goes on a sentence that begins with where the text comes from; no part of the text is ever
/// shown.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// It has not the form of one.
    #[error("holds no key: neither a JWK in JSON nor the base64url form of one")]
    Form,
    /// It is of another kind.
    #[error("holds a key of another kind; allowed: kty OKP, crv Ed25519, alg EdDSA")]
    Kind,
    /// One of its numbers is not what it should be.
    #[error("holds a key whose {0} is not the base64url form of 32 bytes that are a key of Ed25519")]
    Number(&'static str),
    /// Its two halves belong to different keys.
    #[error("holds a key whose x is not the public key of its d")]
    Halves,
    /// It is the public half where the private one is needed.
    #[error("holds a public key; what signs is a private one, with key_ops sign and d")]
    Public,
    /// It is the private half where the public one belongs.
    #[error("holds a private key where a public one belongs; if others can read it, make a new one")]
    Private,
}

/// A key in JSON, with the fields in the order of the reference.
#[derive(Serialize, Deserialize)]
struct Jwk<'a> {
    x: Cow<'a, str>,
    key_ops: Cow<'a, str>,
    kid: Cow<'a, str>,
    #[serde(default)]
    d: Option<Zeroizing<String>>,
    #[serde(default = "kty")]
    kty: Cow<'a, str>,
    #[serde(default = "alg")]
    alg: Cow<'a, str>,
    #[serde(default = "crv")]
    crv: Cow<'a, str>,
}

fn kty() -> Cow<'static, str> {
    "OKP".into()
}

fn alg() -> Cow<'static, str> {
    "EdDSA".into()
}

fn crv() -> Cow<'static, str> {
    "Ed25519".into()
}

const SIGN: &str = "sign";
const VERIFY: &str = "verify";

impl<'a> Jwk<'a> {
    fn new(public: &VerifyingKey, key_ops: &'a str, kid: &'a str, d: Option<Zeroizing<String>>) -> Self {
        let x = URL_SAFE.encode(public.as_bytes()).into();
        Self { x, key_ops: key_ops.into(), kid: kid.into(), d, kty: kty(), alg: alg(), crv: crv() }
    }

    /// # Panics
    /// Never: texts always serialise.
    fn to_json(&self) -> Zeroizing<String> {
        Zeroizing::new(serde_json::to_string(self).expect("texts always serialise"))
    }

    fn check_kind(&self) -> Result<(), KeyError> {
        let is_ours = self.kty == kty() && self.alg == alg() && self.crv == crv();
        if is_ours { Ok(()) } else { Err(KeyError::Kind) }
    }

    fn public(&self) -> Result<VerifyingKey, KeyError> {
        VerifyingKey::from_bytes(&*number(&self.x, "x")?).map_err(|_| KeyError::Number("x"))
    }
}

/// The 32 bytes of a number, with or without padding.
fn number(text: &str, name: &'static str) -> Result<Zeroizing<[u8; 32]>, KeyError> {
    let bytes = URL_SAFE_PAD_INDIFFERENT.decode(text).map(Zeroizing::new).map_err(|_| KeyError::Number(name))?;
    let mut number = Zeroizing::new([0; 32]);
    if bytes.len() != number.len() {
        return Err(KeyError::Number(name));
    }
    number.copy_from_slice(&bytes);
    Ok(number)
}

/// The JSON of a key that is given as such, or in base64url.
fn json_of(text: &str) -> Result<Zeroizing<String>, KeyError> {
    let text = text.trim();
    if text.starts_with('{') {
        return Ok(Zeroizing::new(text.to_owned()));
    }
    let bytes = URL_SAFE_PAD_INDIFFERENT.decode(text).map(Zeroizing::new).map_err(|_| KeyError::Form)?;
    std::str::from_utf8(&bytes).map(|json| Zeroizing::new(json.to_owned())).map_err(|_| KeyError::Form)
}

/// A key that signs. It has no `Debug`, and is wiped when it goes.
pub struct PrivateKey {
    kid: String,
    key: SigningKey,
}

impl PrivateKey {
    /// The key with this id whose private number is `seed`: 32 random bytes.
    pub fn new(kid: &KeyId, seed: &[u8; 32]) -> Self {
        Self { kid: kid.to_string(), key: SigningKey::from_bytes(seed) }
    }

    /// Reads a key from a JWK in JSON, or from its base64url form, as the reference has it in `PRIVATE_JWK_STR`.
    pub fn parse(text: &str) -> Result<Self, KeyError> {
        let json = json_of(text)?;
        let jwk: Jwk<'_> = serde_json::from_str(&json).map_err(|_| KeyError::Form)?;
        jwk.check_kind()?;
        let Some(d) = jwk.d.as_ref().filter(|_| jwk.key_ops == SIGN) else { return Err(KeyError::Public) };
        let key = SigningKey::from_bytes(&*number(d, "d")?);
        if key.verifying_key() == jwk.public()? {
            Ok(Self { kid: jwk.kid.into_owned(), key })
        } else {
            Err(KeyError::Halves)
        }
    }

    /// Its id.
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// Its id, checked to be one under which a public key can lie in a storage.
    pub fn key_id(&self) -> Result<KeyId, NameError> {
        self.kid.parse()
    }

    /// The other half of it.
    pub fn public(&self) -> PublicKey {
        PublicKey { kid: self.kid.clone(), key: self.key.verifying_key() }
    }

    /// The key in the reference's base64url form.
    pub fn to_text(&self) -> Secret {
        let d = Zeroizing::new(URL_SAFE.encode(Zeroizing::new(self.key.to_bytes()).as_slice()));
        let jwk = Jwk::new(&self.key.verifying_key(), SIGN, &self.kid, Some(d));
        URL_SAFE.encode(jwk.to_json().as_bytes()).into()
    }

    /// The signature of a message, 64 bytes.
    pub(super) fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.key.sign(message).to_bytes()
    }
}

/// A key that tells whether the other half of it has signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicKey {
    kid: String,
    key: VerifyingKey,
}

impl PublicKey {
    /// Reads a key from a JWK in JSON, or from its base64url form.
    pub fn parse(text: &str) -> Result<Self, KeyError> {
        let json = json_of(text)?;
        let jwk: Jwk<'_> = serde_json::from_str(&json).map_err(|_| KeyError::Form)?;
        jwk.check_kind()?;
        if jwk.d.is_some() || jwk.key_ops != VERIFY {
            return Err(KeyError::Private);
        }
        Ok(Self { key: jwk.public()?, kid: jwk.kid.into_owned() })
    }

    /// Its id.
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// Its number, 32 bytes, in base64url: the `x` of the JWK.
    pub fn x(&self) -> String {
        URL_SAFE.encode(self.key.as_bytes())
    }

    /// The document that holds it in a storage.
    pub fn to_document(&self) -> Document {
        Document::from_text(Jwk::new(&self.key, VERIFY, &self.kid, None).to_json().as_bytes())
    }

    /// Whether the other half has made the signature of this message.
    pub(super) fn verifies(&self, message: &[u8], signature: &[u8; 64]) -> bool {
        self.key.verify_strict(message, &Signature::from_bytes(signature)).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> PrivateKey {
        PrivateKey::new(&"lab.1".parse().expect("an id"), &[7; 32])
    }

    fn json(key: &PrivateKey) -> String {
        json_of(key.to_text().expose()).expect("its own form").to_string()
    }

    fn refused(text: &str) -> KeyError {
        PrivateKey::parse(text).err().expect("it is no private key")
    }

    #[test]
    fn a_key_is_read_from_each_of_its_forms() {
        let key = key();
        let text = key.to_text();
        let unpadded = text.expose().trim_end_matches('=');
        for form in [text.expose(), &format!("  {}\n", text.expose()), unpadded, &json(&key)] {
            let read = PrivateKey::parse(form).unwrap_or_else(|error| panic!("{error}"));
            assert_eq!((read.kid(), read.public()), (key.kid(), key.public()));
        }
        let public = key.public();
        let document = String::from_utf8(public.to_document().text().to_vec()).expect("text");
        assert_eq!(PublicKey::parse(&document), Ok(public));
    }

    #[test]
    fn what_is_no_key_is_refused_without_being_shown() {
        let (key, public) = (key(), key().public().to_document());
        let public = String::from_utf8(public.text().to_vec()).expect("text");
        assert_eq!(refused(&public), KeyError::Public);
        assert_eq!(PublicKey::parse(&json(&key)), Err(KeyError::Private));
        for text in ["", "hunter2", "{}", "{\"d\": \"hunter2\"}", "e30=", "\u{e4}"] {
            let error = refused(text);
            assert_eq!(error, KeyError::Form);
            assert!(!error.to_string().contains("hunter2"));
        }
        let other = |field: &str, value: &str| {
            let mut jwk: serde_json::Value = serde_json::from_str(&json(&key)).expect("JSON");
            jwk[field] = value.into();
            refused(&jwk.to_string())
        };
        assert_eq!(other("crv", "X25519"), KeyError::Kind);
        assert_eq!(other("d", "AAAA"), KeyError::Number("d"));
        assert_eq!(other("d", "not base64!"), KeyError::Number("d"));
        assert_eq!(other("d", &URL_SAFE.encode([8; 32])), KeyError::Halves);
        assert_eq!(other("key_ops", "verify"), KeyError::Public);
    }
}

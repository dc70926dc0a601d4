//! Whose a token is: JSON Web Tokens, signed with one configured key.
//!
//! The key decides the algorithm; what a token says about it must agree and decides nothing. The format and the claims are the business of
//! `jsonwebtoken`; the two signatures are verified here with the crates that the rest of the workspace hashes with, so nothing is compiled in that
//! no token may use.

use std::fmt;

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::{URL_SAFE, URL_SAFE_NO_PAD};
use chat_core::{DisplayName, NAME_CHARACTERS_MAX, Timestamp, UserId};
use chat_transport_socketio::chat::{Account, Accounts, Unverified};
use ed25519_dalek::VerifyingKey;
use ed25519_dalek::pkcs8::DecodePublicKey;
use hmac::{Hmac, KeyInit, Mac};
use jsonwebtoken::crypto::{CryptoProvider, JwtVerifier, KeyUtils};
use jsonwebtoken::errors::{Error, ErrorKind, new_error};
use jsonwebtoken::{Algorithm, AlgorithmFamily, DecodingKey, Validation, decode, decode_header};
use serde::Deserialize;
use sha2::Sha256;
use signature::Verifier;

/// A shorter secret than the hash is long can be guessed with less effort than the algorithm promises.
const SECRET_BYTES_MIN: usize = 32;

/// What tokens are signed with.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Key {
    /// HS256: whoever has it can also make tokens.
    Secret(Vec<u8>),
    /// EdDSA with Ed25519: it can only verify.
    Public([u8; 32]),
}

/// What a token must say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Wanted {
    pub(crate) key: Key,
    /// One of these; none: a token must not be for anybody in particular.
    pub(crate) audiences: Vec<String>,
    /// One of these; none: whoever has the key.
    pub(crate) issuers: Vec<String>,
    /// By how much clocks may differ, in seconds.
    pub(crate) skew_seconds: u64,
    pub(crate) expiry: Expiry,
}

/// Whether a token must end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Expiry {
    Required,
    Optional,
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Secret(_) => "Secret(..)",
            Self::Public(_) => "Public(..)",
        })
    }
}

impl Key {
    /// A secret as a text, or as a JWK with `"kty": "oct"`.
    pub(crate) fn secret(text: &str) -> Result<Self, String> {
        let text = text.trim_end_matches(['\r', '\n']);
        if text.contains("-----BEGIN") {
            return Err(
                "this is a key in PEM format, not a secret; a public one goes into --token-public-key"
                    .to_owned(),
            );
        }
        let secret = match Jwk::read(text) {
            Some(jwk) => jwk.secret()?,
            None => text.as_bytes().to_vec(),
        };
        if secret.len() < SECRET_BYTES_MIN {
            return Err(format!(
                "a secret has at least {SECRET_BYTES_MIN} bytes; `openssl rand -base64 48` makes one"
            ));
        }
        Ok(Self::Secret(secret))
    }

    /// An Ed25519 public key, in PEM or JWK format.
    pub(crate) fn public(text: &str) -> Result<Self, String> {
        const WANTED: &str = "an Ed25519 public key is wanted, in PEM (-----BEGIN PUBLIC KEY-----) or JWK format (\"crv\": \"Ed25519\")";
        if text.contains("PRIVATE KEY") {
            return Err("this is a private key, which does not belong here: `openssl pkey -pubout` tells the public one".to_owned());
        }
        let key = match Jwk::read(text.trim()) {
            Some(jwk) => jwk.public().and_then(|bytes| VerifyingKey::from_bytes(&bytes).ok()),
            None => VerifyingKey::from_public_key_pem(text.trim()).ok(),
        };
        // A weak one verifies what nobody has signed.
        let key = key.filter(|key| !key.is_weak());
        key.map(|key| Self::Public(key.to_bytes())).ok_or_else(|| WANTED.to_owned())
    }

    fn algorithm(&self) -> Algorithm {
        match self {
            Self::Secret(_) => Algorithm::HS256,
            Self::Public(_) => Algorithm::EdDSA,
        }
    }

    fn decoding(&self) -> DecodingKey {
        match self {
            Self::Secret(secret) => DecodingKey::from_secret(secret),
            Self::Public(key) => DecodingKey::from_ed_der(key),
        }
    }
}

#[derive(Deserialize)]
struct Jwk {
    kty: String,
    #[serde(default)]
    crv: String,
    #[serde(default)]
    x: String,
    #[serde(default)]
    k: String,
    #[serde(default)]
    d: Option<serde::de::IgnoredAny>,
}

impl Jwk {
    fn read(text: &str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }

    fn secret(&self) -> Result<Vec<u8>, String> {
        let wanted = || "a JWK of a secret has \"kty\": \"oct\" and \"k\"".to_owned();
        if self.kty != "oct" {
            return Err(wanted());
        }
        bytes(&self.k).ok_or_else(wanted)
    }

    fn public(&self) -> Option<[u8; 32]> {
        let is_public = self.kty == "OKP" && self.crv == "Ed25519" && self.d.is_none();
        bytes(&self.x).filter(|_| is_public)?.try_into().ok()
    }
}

fn bytes(base64: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(base64).or_else(|_| URL_SAFE.decode(base64)).ok()
}

/// The accounts of those whose tokens are signed with one key.
pub(crate) struct Tokens {
    key: DecodingKey,
    validation: Validation,
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tokens(..)")
    }
}

impl Tokens {
    pub(crate) fn new(wanted: &Wanted) -> Self {
        // It is the same each time, so whoever came first has put the same there.
        let _ = PROVIDER.install_default();
        let mut validation = Validation::new(wanted.key.algorithm());
        validation.leeway = wanted.skew_seconds;
        validation.validate_nbf = true;
        let mut required = vec!["sub"];
        if wanted.expiry == Expiry::Required {
            required.push("exp");
        }
        if !wanted.audiences.is_empty() {
            required.push("aud");
            validation.set_audience(&wanted.audiences);
        }
        if !wanted.issuers.is_empty() {
            required.push("iss");
            validation.set_issuer(&wanted.issuers);
        }
        validation.set_required_spec_claims(&required);
        Self { key: wanted.key.decoding(), validation }
    }

    fn read(&self, token: &str) -> Result<Account, Unverified> {
        let refused = |error: Error| Unverified::rejected(self.explain(error.kind()));
        // What it says must be understood is not.
        if decode_header(token).map_err(refused)?.crit.is_some() {
            return Err(Unverified::rejected(
                "it has `crit` in its header, and nothing that it can name is understood here",
            ));
        }
        let claims = decode::<Claims>(token, &self.key, &self.validation).map_err(refused)?.claims;
        let id =
            UserId::new(&claims.sub).map_err(|error| Unverified::rejected(format!("its `sub`: {error}")))?;
        let mut account = Account::new(id).roles(claims.roles.into_iter().flat_map(Roles::into_list));
        if let Some(name) = claims.name.as_ref().and_then(|name| shown(name.as_str()?)) {
            account = account.name(name);
        }
        if let Some(exp) = claims.exp {
            // As long as it would be accepted. Beyond what a number can say it does not end.
            let millis = exp.max(0.0) * 1000.0 + self.validation.leeway as f64 * 1000.0;
            account = account.expires(Timestamp::from_millis(millis as u64));
        }
        Ok(account)
    }

    /// What is wrong with a token, and what to do about it.
    fn explain(&self, error: &ErrorKind) -> String {
        match error {
            ErrorKind::ExpiredSignature => "it has expired: get another one".to_owned(),
            ErrorKind::ImmatureSignature => "it is not valid yet (`nbf`): is the clock of its issuer right?".to_owned(),
            ErrorKind::InvalidAudience if self.validation.aud.is_none() => {
                "it is for somebody in particular (`aud`), and this server is configured as nobody: see --token-audience".to_owned()
            }
            ErrorKind::InvalidAudience => "it is for somebody else (`aud`)".to_owned(),
            ErrorKind::InvalidIssuer => "it is from somebody else (`iss`)".to_owned(),
            ErrorKind::MissingRequiredClaim(claim) | ErrorKind::InvalidClaimFormat(claim) => {
                format!("it must have a valid `{claim}`")
            }
            ErrorKind::InvalidAlgorithm | ErrorKind::UnsupportedAlgorithm | ErrorKind::InvalidAlgorithmName => {
                format!("it must be signed with {:?}", self.validation.algorithms.first().unwrap_or(&Algorithm::HS256))
            }
            ErrorKind::InvalidSignature => {
                "its signature is not one of the configured key, or it was changed".to_owned()
            }
            // The causes repeat parts of it.
            _ => "it is not a JWT of three parts with the claims `sub`, `exp`, `name` (a text) and `roles` (texts)".to_owned(),
        }
    }
}

#[async_trait]
impl Accounts for Tokens {
    async fn account(&self, token: &str) -> Result<Account, Unverified> {
        self.read(token)
    }
}

#[derive(Deserialize)]
struct Claims {
    sub: String,
    #[serde(default)]
    name: Option<serde_json::Value>,
    #[serde(default)]
    exp: Option<f64>,
    #[serde(default)]
    roles: Option<Roles>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Roles {
    One(String),
    Many(Vec<String>),
}

impl Roles {
    fn into_list(self) -> Vec<String> {
        match self {
            Self::One(role) => vec![role],
            Self::Many(roles) => roles,
        }
    }
}

/// The name as it can be shown: whoever issues tokens need not know the limits of a chat.
fn shown(name: &str) -> Option<DisplayName> {
    let plain: String =
        name.chars().filter(|character| !character.is_control()).take(NAME_CHARACTERS_MAX).collect();
    DisplayName::new(plain.trim()).ok()
}

/// Verifies, and nothing else.
static PROVIDER: CryptoProvider = CryptoProvider {
    signer_factory: |_, _| Err(new_error(ErrorKind::UnsupportedAlgorithm)),
    verifier_factory: verifier,
    // Only asked about JWKs, which are read here.
    key_utils: KeyUtils::new_unimplemented(),
};

/// The kind of the key must be that of the algorithm: the bytes of a public key are no secret.
fn verifier(algorithm: &Algorithm, key: &DecodingKey) -> Result<Box<dyn JwtVerifier>, Error> {
    let bytes = key.try_get_as_bytes()?;
    match (algorithm, key.family()) {
        (Algorithm::HS256, AlgorithmFamily::Hmac) => {
            let mac = Hmac::new_from_slice(bytes).map_err(|_| new_error(ErrorKind::InvalidKeyFormat))?;
            Ok(Box::new(BySecret(mac)))
        }
        (Algorithm::EdDSA, AlgorithmFamily::Ed) => {
            let key = bytes.try_into().ok().and_then(|bytes| VerifyingKey::from_bytes(bytes).ok());
            Ok(Box::new(ByPublicKey(key.ok_or_else(|| new_error(ErrorKind::InvalidEddsaKey))?)))
        }
        _ => Err(new_error(ErrorKind::InvalidAlgorithm)),
    }
}

struct BySecret(Hmac<Sha256>);

impl Verifier<Vec<u8>> for BySecret {
    fn verify(&self, message: &[u8], signature: &Vec<u8>) -> Result<(), signature::Error> {
        // In the same time, whichever byte is wrong.
        self.0.clone().chain_update(message).verify_slice(signature).map_err(|_| signature::Error::new())
    }
}

impl JwtVerifier for BySecret {
    fn algorithm(&self) -> Algorithm {
        Algorithm::HS256
    }
}

struct ByPublicKey(VerifyingKey);

impl Verifier<Vec<u8>> for ByPublicKey {
    fn verify(&self, message: &[u8], signature: &Vec<u8>) -> Result<(), signature::Error> {
        let signature =
            ed25519_dalek::Signature::from_slice(signature).map_err(|_| signature::Error::new())?;
        self.0.verify_strict(message, &signature).map_err(|_| signature::Error::new())
    }
}

impl JwtVerifier for ByPublicKey {
    fn algorithm(&self) -> Algorithm {
        Algorithm::EdDSA
    }
}

#[cfg(test)]
mod tests {
    use ed25519_dalek::pkcs8::EncodePublicKey;
    use ed25519_dalek::pkcs8::spki::der::pem::LineEnding;
    use ed25519_dalek::{Signer, SigningKey};
    use serde_json::{Value, json};

    use super::*;

    const SECRET: &str = "a secret of more than thirty-two bytes";

    fn now() -> u64 {
        Timestamp::now().millis() / 1000
    }

    fn part(bytes: impl AsRef<[u8]>) -> String {
        URL_SAFE_NO_PAD.encode(bytes)
    }

    fn hs256(secret: &[u8], message: &str) -> String {
        let mac = Hmac::<Sha256>::new_from_slice(secret).unwrap().chain_update(message);
        part(mac.finalize().into_bytes())
    }

    fn signed(header: &Value, claims: &str, sign: impl FnOnce(&str) -> String) -> String {
        let message = format!("{}.{}", part(header.to_string()), part(claims));
        let signature = sign(&message);
        format!("{message}.{signature}")
    }

    fn token(claims: &Value) -> String {
        signed(&json!({"alg": "HS256", "typ": "JWT"}), &claims.to_string(), |message| {
            hs256(SECRET.as_bytes(), message)
        })
    }

    fn wanted(key: Key) -> Wanted {
        Wanted { key, audiences: vec![], issuers: vec![], skew_seconds: 30, expiry: Expiry::Required }
    }

    fn tokens(change: impl FnOnce(&mut Wanted)) -> Tokens {
        let mut wanted = wanted(Key::secret(SECRET).unwrap());
        change(&mut wanted);
        Tokens::new(&wanted)
    }

    fn refused(tokens: &Tokens, token: &str) -> String {
        match tokens.read(token) {
            Err(Unverified::Rejected { message }) => message,
            other => panic!("{other:?}"),
        }
    }

    fn signing_key() -> SigningKey {
        SigningKey::from_bytes(&[7; 32])
    }

    fn pem() -> String {
        signing_key().verifying_key().to_public_key_pem(LineEnding::LF).unwrap()
    }

    fn eddsa(message: &str) -> String {
        part(signing_key().sign(message.as_bytes()).to_bytes())
    }

    #[test]
    fn a_token_tells_id_name_end_and_roles() {
        let tokens = tokens(|_| {});
        let exp = now() + 60;
        let claims = json!({"sub": "ada", "name": " Ada\n Lovelace ", "exp": exp, "roles": ["staff", "moderator"], "other": {}});
        let account = tokens.read(&token(&claims)).unwrap();
        let expected = Account::new(UserId::new("ada").unwrap())
            .name(DisplayName::new("Ada Lovelace").unwrap())
            .expires(Timestamp::from_millis((exp + 30) * 1000))
            .roles(["staff".to_owned(), "moderator".to_owned()]);
        assert_eq!(account, expected);
        let one = tokens
            .read(&token(&json!({"sub": "ada", "exp": exp, "roles": "staff", "name": "x".repeat(100)})))
            .unwrap();
        assert_eq!((one.roles.contain("staff"), one.name.unwrap().as_str().len()), (true, 64));
        let nameless = tokens.read(&token(&json!({"sub": "ada", "exp": exp, "name": "\u{7}"}))).unwrap();
        assert_eq!(nameless.name, None);
    }

    #[test]
    fn a_token_counts_from_nbf_until_exp_give_or_take_the_skew() {
        let tokens = tokens(|_| {});
        let read = |exp: u64, nbf: u64| tokens.read(&token(&json!({"sub": "ada", "exp": exp, "nbf": nbf})));
        assert!(read(now() - 25, now() + 25).is_ok());
        assert!(refused(&tokens, &token(&json!({"sub": "ada", "exp": now() - 35}))).contains("expired"));
        assert!(
            refused(&tokens, &token(&json!({"sub": "ada", "exp": now() + 60, "nbf": now() + 35})))
                .contains("nbf")
        );
        for exp in [json!(null), json!("soon"), json!(-5), json!({})] {
            let message = refused(&tokens, &token(&json!({"sub": "ada", "exp": exp})));
            assert!(message.contains("exp"), "{exp}: {message}");
        }
        for nbf in [json!("soon"), json!(-5), json!([])] {
            assert!(
                refused(&tokens, &token(&json!({"sub": "ada", "exp": now() + 60, "nbf": nbf})))
                    .contains("nbf")
            );
        }
    }

    #[test]
    fn a_token_without_an_end_is_refused_unless_that_is_wanted() {
        let endless = token(&json!({"sub": "ada"}));
        assert_eq!(refused(&tokens(|_| {}), &endless), "it must have a valid `exp`");
        let optional = tokens(|wanted| wanted.expiry = Expiry::Optional);
        assert_eq!(optional.read(&endless).unwrap().expires, None);
        assert!(refused(&optional, &token(&json!({"sub": "ada", "exp": 1}))).contains("expired"));
        assert!(refused(&optional, &token(&json!({"sub": "ada", "exp": "never"}))).contains("exp"));
    }

    #[test]
    fn audience_and_issuer_must_be_there_and_be_one_that_is_wanted() {
        let tokens = tokens(|wanted| {
            wanted.audiences = vec!["chat".to_owned(), "talk".to_owned()];
            wanted.issuers = vec!["https://id.example".to_owned()];
        });
        let read = |aud: Value, iss: Value| {
            tokens.read(&token(&json!({"sub": "ada", "exp": now() + 60, "aud": aud, "iss": iss}))).is_ok()
        };
        let issuer = || json!("https://id.example");
        assert!(read(json!("chat"), issuer()) && read(json!(["mail", "talk"]), issuer()));
        for aud in [
            json!("mail"),
            json!(["mail"]),
            json!([]),
            json!(null),
            json!(7),
            json!({"chat": 1}),
            json!("Chat"),
            json!("chat "),
        ] {
            assert!(!read(aud.clone(), issuer()), "{aud}");
        }
        for iss in
            [json!("https://evil.example"), json!(null), json!(7), json!([]), json!("https://id.example/")]
        {
            assert!(!read(json!("chat"), iss.clone()), "{iss}");
        }
    }

    #[test]
    fn a_token_for_somebody_in_particular_is_not_for_a_server_that_is_nobody() {
        let message =
            refused(&tokens(|_| {}), &token(&json!({"sub": "ada", "exp": now() + 60, "aud": "mail"})));
        assert!(message.contains("--token-audience"), "{message}");
    }

    #[test]
    fn the_key_decides_the_algorithm() {
        let claims = json!({"sub": "ada", "exp": now() + 60}).to_string();
        let by_secret = tokens(|_| {});
        let by_public_key = Tokens::new(&wanted(Key::public(&pem()).unwrap()));
        let good = signed(&json!({"alg": "EdDSA"}), &claims, eddsa);
        assert!(by_public_key.read(&good).is_ok());
        let key = signing_key().verifying_key().to_bytes();
        let forged: Vec<(&str, String)> = vec![
            ("none", signed(&json!({"alg": "none"}), &claims, |_| String::new())),
            ("None", signed(&json!({"alg": "None"}), &claims, |_| String::new())),
            ("no algorithm", signed(&json!({"typ": "JWT"}), &claims, eddsa)),
            ("no signature", signed(&json!({"alg": "EdDSA"}), &claims, |_| String::new())),
            (
                "the public key as a secret",
                signed(&json!({"alg": "HS256"}), &claims, |text| hs256(&key, text)),
            ),
            (
                "the PEM as a secret",
                signed(&json!({"alg": "HS256"}), &claims, |text| hs256(pem().as_bytes(), text)),
            ),
            ("the empty secret", signed(&json!({"alg": "HS256"}), &claims, |text| hs256(b"", text))),
            ("a signature of zeros", signed(&json!({"alg": "EdDSA"}), &claims, |_| part([0; 64]))),
            ("another algorithm", signed(&json!({"alg": "ES256"}), &claims, eddsa)),
            (
                "an own key",
                signed(
                    &json!({"alg": "EdDSA", "jwk": {"kty": "OKP", "crv": "Ed25519", "x": part([1; 32])}}),
                    &claims,
                    |_| part([0; 64]),
                ),
            ),
            ("critical", signed(&json!({"alg": "EdDSA", "crit": ["b64"], "b64": false}), &claims, eddsa)),
        ];
        for (what, token) in &forged {
            refused(&by_public_key, token);
            refused(&by_secret, token);
            assert!(what.len() < 100);
        }
        refused(&by_secret, &good);
        for other in ["HS384", "HS512"] {
            refused(
                &by_secret,
                &signed(&json!({"alg": other}), &claims, |text| hs256(SECRET.as_bytes(), text)),
            );
        }
        refused(
            &by_public_key,
            &signed(&json!({"alg": "HS256"}), &claims, |text| hs256(SECRET.as_bytes(), text)),
        );
    }

    #[test]
    fn whatever_is_changed_breaks_the_signature() {
        let tokens = tokens(|_| {});
        let good = token(&json!({"sub": "ada", "exp": now() + 60}));
        let [header, claims, signature]: [&str; 3] = good.split('.').collect::<Vec<_>>().try_into().unwrap();
        let other = part(json!({"sub": "bob", "exp": now() + 60}).to_string());
        for changed in [
            format!("{header}.{other}.{signature}"),
            format!("{header}.{claims}."),
            format!("{header}.{claims}"),
            format!("{header}.{claims}.{signature}.{signature}"),
            format!("{header}.{claims}.{}", &signature[..20]),
            format!("{}.{claims}.{signature}", part(r#"{"alg":"HS256"}"#)),
            format!(" {good}"),
            format!("{good}="),
            "..".to_owned(),
            ".".repeat(8_000),
            String::new(),
            "\u{0}".to_owned(),
        ] {
            let message = refused(&tokens, &changed);
            assert!(!message.contains(claims) && !message.contains(SECRET), "{message}");
        }
    }

    #[test]
    fn a_sub_that_is_no_id_is_refused() {
        let tokens = tokens(|_| {});
        for sub in [
            json!(""),
            json!("a\u{0}b"),
            json!("a\nb"),
            json!("x".repeat(257)),
            json!(7),
            json!(null),
            json!(["ada"]),
        ] {
            refused(&tokens, &token(&json!({"sub": sub, "exp": now() + 60})));
        }
        let twice = format!(r#"{{"sub":"ada","sub":"bob","exp":{}}}"#, now() + 60);
        refused(&tokens, &signed(&json!({"alg": "HS256"}), &twice, |text| hs256(SECRET.as_bytes(), text)));
        refused(&tokens, &token(&json!({"exp": now() + 60})));
    }

    #[test]
    fn a_key_that_cannot_be_used_is_answered_with_what_is_wanted() {
        assert!(Key::secret("short").unwrap_err().contains("at least 32 bytes"));
        assert!(Key::secret(&pem()).unwrap_err().contains("--token-public-key"));
        assert_eq!(Key::secret(&format!("{SECRET}\n")), Key::secret(SECRET));
        let jwk = json!({"kty": "oct", "k": part([9; 32])}).to_string();
        assert_eq!(Key::secret(&jwk), Ok(Key::Secret(vec![9; 32])));
        let public = Key::Public(signing_key().verifying_key().to_bytes());
        assert_eq!(Key::public(&pem()), Ok(public.clone()));
        let x = part(signing_key().verifying_key().to_bytes());
        let jwk = |kty: &str, crv: &str| json!({"kty": kty, "crv": crv, "x": x, "use": "sig"}).to_string();
        assert_eq!(Key::public(&jwk("OKP", "Ed25519")), Ok(public));
        for wrong in [
            jwk("OKP", "X25519"),
            jwk("EC", "P-256"),
            SECRET.to_owned(),
            String::new(),
            pem().replace('A', "B"),
        ] {
            assert!(Key::public(&wrong).unwrap_err().contains("Ed25519 public key is wanted"), "{wrong}");
        }
        let private = json!({"kty": "OKP", "crv": "Ed25519", "x": x, "d": x}).to_string();
        assert!(Key::public(&private).is_err());
        assert!(Key::public("-----BEGIN PRIVATE KEY-----").unwrap_err().contains("-pubout"));
        let weak = json!({"kty": "OKP", "crv": "Ed25519", "x": part([0; 32])}).to_string();
        assert!(Key::public(&weak).is_err(), "a weak key verifies what nobody has signed");
    }

    #[test]
    fn a_key_is_not_shown_by_debug() {
        let shown = format!("{:?} {:?}", wanted(Key::secret(SECRET).unwrap()), tokens(|_| {}));
        assert!(!shown.contains("secret of") && !shown.contains("97, 32"), "{shown}");
    }
}

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE, URL_SAFE_NO_PAD};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

/// A key with the name `k1`, and what verifies its tokens.
struct World {
    pair: Ed25519KeyPair,
    signing: SigningKey,
    verifying: VerifyingKeys,
}

impl World {
    fn new() -> World {
        let pair = Ed25519KeyPair::generate().unwrap();
        let pkcs8 = pair.to_pkcs8v1().unwrap();
        let id = KeyId("k1".to_owned());
        let mut verifying = VerifyingKeys::default();
        verifying.insert(id.clone(), pair.public_key().as_ref());
        World { signing: SigningKey::from_pkcs8(id, pkcs8.as_ref()), verifying, pair }
    }

    fn genuine(&self) -> String {
        self.signing.sign(&claims()).unwrap()
    }

    /// Signs whatever it is, with the real key: so the signature is never what gets it refused.
    fn sign(&self, header: &str, body: &str) -> String {
        let message = format!("{}.{}", encode(header), encode(body));
        let signature = URL_SAFE_NO_PAD.encode(self.pair.sign(message.as_bytes()));
        format!("{message}.{signature}")
    }

    fn verify(&self, token: &str) -> Result<VerifiedToken, AccessTokenError> {
        self.verifying.verify(token)
    }
}

fn claims() -> AccessClaims {
    let now = UnixMillis(1_000_400);
    AccessClaims::new(UserId(7), SessionId([3; 16]), "j".to_owned(), now, Duration::from_secs(2))
}

fn encode(text: &str) -> String {
    URL_SAFE_NO_PAD.encode(text)
}

fn good_header() -> Value {
    json!({ "typ": "at+jwt", "alg": "EdDSA", "kid": "k1" })
}

fn good_body() -> Value {
    serde_json::to_value(claims()).unwrap()
}

/// Returns `object` with `name` changed, or removed where there is no value.
fn with(mut object: Value, name: &str, value: Option<Value>) -> String {
    let fields = object.as_object_mut().unwrap();
    match value {
        Some(value) => fields.insert(name.to_owned(), value),
        None => fields.remove(name),
    };
    object.to_string()
}

/// Returns the text of `object` with one more field at its end, which it may have already.
fn and(object: &Value, field: &str) -> String {
    let text = object.to_string();
    format!("{},{field}}}", text.strip_suffix('}').unwrap())
}

#[test]
fn what_was_signed_is_read_back() {
    let world = World::new();
    let expected = VerifiedToken { user_id: UserId(7), session: SessionId([3; 16]), expires_at: 1003 };
    assert_eq!(world.verify(&world.genuine()), Ok(expected));
    let (header, body) = (good_header().to_string(), good_body().to_string());
    assert_eq!(world.verify(&world.sign(&header, &body)), Ok(expected), "the tables below rest on this");
}

#[test]
fn it_ends_at_the_next_whole_second_without_leeway() {
    let world = World::new();
    let token = world.verify(&world.genuine()).unwrap();
    assert_eq!(token.check_expiry(UnixMillis(1_002_999)), Ok(()));
    assert_eq!(token.check_expiry(UnixMillis(1_003_000)), Err(AccessTokenError::Expired));
}

#[test]
fn s5_no_flipped_bit_goes_unnoticed() {
    let world = World::new();
    let token = world.genuine().into_bytes();
    for at in 0..token.len() {
        for bit in 0..7 {
            let mut forged = token.clone();
            forged[at] ^= 1 << bit;
            let forged = String::from_utf8(forged).unwrap();
            assert!(world.verify(&forged).is_err(), "bit {bit} of byte {at}");
        }
    }
}

#[test]
fn s1_unsigned_and_symmetric_tokens_are_refused() {
    let world = World::new();
    let body = encode(&good_body().to_string());
    for algorithm in ["none", "None", "NONE", "nOnE", ""] {
        let header = encode(&with(good_header(), "alg", Some(json!(algorithm))));
        for signature in ["", "AA", &URL_SAFE_NO_PAD.encode([0; 64])] {
            let token = format!("{header}.{body}.{signature}");
            assert_eq!(world.verify(&token), Err(AccessTokenError::NotGenuine), "{algorithm}");
        }
    }
    let public_key = world.pair.public_key().as_ref();
    for algorithm in [Algorithm::HS256, Algorithm::HS384, Algorithm::HS512] {
        // The public key as the secret, in the forms that a careless server might hold it in.
        for secret in [public_key.to_vec(), STANDARD.encode(public_key).into_bytes()] {
            let mut header = Header::new(algorithm);
            header.typ = Some(TYPE.to_owned());
            header.kid = Some("k1".to_owned());
            let token = jsonwebtoken::encode(&header, &claims(), &EncodingKey::from_secret(&secret)).unwrap();
            assert_eq!(world.verify(&token), Err(AccessTokenError::NotGenuine), "{algorithm:?}");
        }
    }
}

#[test]
fn s1_s2_s3_headers_that_are_not_ours_are_refused_though_the_signature_is() {
    let world = World::new();
    let body = good_body().to_string();
    let header = |name: &str, value: Value| with(good_header(), name, Some(value));
    let refused = [
        header("alg", json!("HS256")),
        header("alg", json!("ES256")),
        header("alg", json!("Ed25519")),
        header("alg", json!("eddsa")),
        header("alg", json!(null)),
        header("alg", json!(["EdDSA"])),
        with(good_header(), "alg", None),
        header("typ", json!("JWT")),
        header("typ", json!("AT+JWT")),
        header("typ", json!("application/at+jwt")),
        header("typ", json!("id+jwt")),
        header("typ", json!(null)),
        with(good_header(), "typ", None),
        header("kid", json!(null)),
        header("kid", json!(1)),
        header("kid", json!(["k1"])),
        with(good_header(), "kid", None),
        header("crit", json!(["exp"])),
        header("crit", json!(["b64"])),
        header("crit", json!([])),
        and(&good_header(), r#""kid":"k1""#),
        and(&good_header(), r#""alg":"EdDSA""#),
        and(&good_header(), r#""typ":"at+jwt""#),
        r#"["at+jwt","EdDSA","k1"]"#.to_owned(),
        "null".to_owned(),
        "{}".to_owned(),
        String::new(),
        format!("{}x", good_header()),
        format!("\u{feff}{}", good_header()),
    ];
    for header in refused {
        assert_eq!(world.verify(&world.sign(&header, &body)), Err(AccessTokenError::NotGenuine), "{header}");
    }
    for kid in ["", "k2", "K1", "k1 ", "../k1", "k1\0", "' OR 1=1 --", "http://127.0.0.1/k1"] {
        let header = header("kid", json!(kid));
        assert_eq!(world.verify(&world.sign(&header, &body)), Err(AccessTokenError::UnknownKey), "{kid}");
    }
}

/// The attacker's own key, named in every way that a header has for it.
#[test]
fn s2_a_key_that_the_token_brings_along_is_never_used() {
    let (world, attacker) = (World::new(), World::new());
    let x = URL_SAFE_NO_PAD.encode(attacker.pair.public_key().as_ref());
    let body = good_body().to_string();
    let jwk = json!({ "kty": "OKP", "crv": "Ed25519", "x": x, "kid": "k1" });
    let brought = [
        ("jwk", jwk),
        ("jku", json!("http://127.0.0.1:1/jwks.json")),
        ("x5u", json!("http://127.0.0.1:1/cert.pem")),
        ("x5c", json!([x])),
    ];
    for (name, value) in brought {
        let header = with(good_header(), name, Some(value));
        let forged = attacker.sign(&header, &body);
        assert_eq!(world.verify(&forged), Err(AccessTokenError::NotGenuine), "{name}");
        assert!(attacker.verify(&forged).is_ok(), "nothing else is wrong with it");
    }
}

#[test]
fn s4_claims_that_are_not_ours_are_refused_though_the_signature_is() {
    let world = World::new();
    let header = good_header().to_string();
    let body = |name: &str, value: Value| with(good_body(), name, Some(value));
    let mut refused = vec![
        body("iss", json!("someone")),
        body("iss", json!("authcli-server ")),
        body("iss", json!(["authcli-server"])),
        body("aud", json!("elsewhere")),
        body("aud", json!(["authcli-server"])),
        body("aud", json!(["authcli-server", "elsewhere"])),
        body("exp", json!("1003")),
        body("exp", json!(1003.5)),
        body("exp", json!(1e300)),
        body("sub", json!("8")),
        body("sub", json!("07")),
        body("sub", json!(7)),
        body("userId", json!(8)),
        body("userId", json!("7")),
        body("sid", json!("")),
        body("sid", json!("AAAA")),
        // One stray bit in the last letter, and padding: other spellings of a session's id.
        body("sid", json!("AwMDAwMDAwMDAwMDAwMDAx")),
        body("sid", json!("AwMDAwMDAwMDAwMDAwMDAw==")),
        "[]".to_owned(),
        "null".to_owned(),
        "{}".to_owned(),
        String::new(),
        format!("{}x", good_body()),
    ];
    for name in ["iss", "aud", "exp", "sub", "sid", "jti", "iat", "userId"] {
        refused.push(body(name, json!(null)));
        refused.push(body(name, json!({})));
        refused.push(with(good_body(), name, None));
        // The same claim twice, with its own value: no parser may choose.
        refused.push(and(&good_body(), &format!("\"{name}\":{}", good_body()[name])));
    }
    for body in refused {
        assert_eq!(world.verify(&world.sign(&header, &body)), Err(AccessTokenError::NotGenuine), "{body}");
    }
}

#[test]
fn unknown_fields_are_never_looked_at_however_deep_they_are() {
    let world = World::new();
    let deep = |depth| format!("\"x\":{}{}", "[".repeat(depth), "]".repeat(depth));
    let (header, body) = (good_header().to_string(), good_body().to_string());
    assert!(world.verify(&world.sign(&and(&good_header(), r#""x":1"#), &and(&good_body(), r#""x":1"#))).is_ok());
    for depth in [100, 1000, 2500] {
        // Refused or not: it ends, and without a deep stack.
        let _ = world.verify(&world.sign(&header, &and(&good_body(), &deep(depth))));
        let _ = world.verify(&world.sign(&and(&good_header(), &deep(depth)), &body));
    }
    let brackets = encode(&"[".repeat(3000));
    assert!(world.verify(&format!("{brackets}.{brackets}.AA")).is_err());
}

#[test]
fn s5_a_long_token_is_refused_before_it_is_parsed() {
    let world = World::new();
    let (header, body) = (good_header().to_string(), good_body());
    let padded = |length: usize| world.sign(&header, &and(&body, &format!("\"x\":\"{}\"", "a".repeat(length))));
    let room = (MAX_ACCESS_TOKEN_BYTES - padded(0).len()) * 3 / 4;
    assert!(padded(room - 3).len() <= MAX_ACCESS_TOKEN_BYTES);
    assert!(world.verify(&padded(room - 3)).is_ok());
    assert_eq!(world.verify(&padded(room + 3)), Err(AccessTokenError::TooLong));
    assert_eq!(world.verify(&"a".repeat(1 << 20)), Err(AccessTokenError::TooLong));
}

#[test]
fn s5_a_token_has_one_spelling() {
    let world = World::new();
    let token = world.genuine();
    let parts: Vec<&str> = token.split('.').collect();
    let [header, body, signature] = parts[..] else { panic!("three parts") };
    let raw = URL_SAFE_NO_PAD.decode(signature).unwrap();
    let mut stray = signature.to_owned();
    // 64 bytes end in four bits that carry nothing.
    let last = stray.pop().unwrap();
    stray.push(char::from(last as u8 + 1));
    let refused = [
        format!("{header}.{body}.{}", URL_SAFE.encode(&raw)),
        format!("{header}.{body}.{stray}"),
        format!("{header}.{body}.{signature}="),
        format!("{header}.{body}.{signature}\n"),
        format!("{header}=.{body}.{signature}"),
        format!("{header}.{body}=.{signature}"),
        format!(" {token}"),
        format!("{token}."),
        format!(".{token}"),
        format!("{header}.{body}"),
        format!("{header}..{signature}"),
        format!("{header}.{body}."),
        format!("{header}.{body}.{signature}.{signature}"),
        format!("{header}.{body}.{}", &signature[1..]),
        "..".to_owned(),
        String::new(),
        format!("Bearer {token}"),
        "acrt.1.AwMDAwMDAwMDAwMDAwMDAw.AAAAAAAAAAA.AAAA".to_owned(),
    ];
    for token in refused {
        assert!(world.verify(&token).is_err(), "{token}");
    }
    // Signed as it stands, so that the spelling alone is wrong.
    let sign = |header: String| {
        let message = format!("{header}.{body}");
        let signature = URL_SAFE_NO_PAD.encode(world.pair.sign(message.as_bytes()));
        format!("{message}.{signature}")
    };
    assert!(world.verify(&sign(header.to_owned())).is_ok());
    let spaced = format!("{}  ", good_header());
    assert!(URL_SAFE.encode(&spaced).ends_with('='));
    for header in [URL_SAFE.encode(&spaced), format!("{header}="), format!("{header}A"), format!("{header}%3D")] {
        assert!(world.verify(&sign(header.clone())).is_err(), "{header}");
    }
}

proptest! {
    #[test]
    fn no_text_is_accepted_or_makes_it_fail(text in ".{0,300}") {
        prop_assert!(World::new().verify(&text).is_err());
    }

    /// Any header and any claims, without our key.
    #[test]
    fn nothing_that_another_key_signed_is_accepted(
        typ in "at\\+jwt|JWT|.{0,8}",
        alg in "EdDSA|none|HS256|.{0,8}",
        kid in "k1|.{0,8}",
        exp: i64,
        signature: Vec<u8>,
    ) {
        let (world, attacker) = (World::new(), World::new());
        let header = json!({ "typ": typ, "alg": alg, "kid": kid }).to_string();
        let body = with(good_body(), "exp", Some(json!(exp)));
        prop_assert!(world.verify(&attacker.sign(&header, &body)).is_err());
        let unsigned = format!("{}.{}.{}", encode(&header), encode(&body), URL_SAFE_NO_PAD.encode(signature));
        prop_assert!(world.verify(&unsigned).is_err());
    }

    /// Bytes in the place of header or claims, under our own signature: what is refused, is refused without a panic.
    #[test]
    fn no_signed_bytes_make_it_fail(header: Vec<u8>, body: Vec<u8>, keep_header: bool) {
        let world = World::new();
        let header = if keep_header { good_header().to_string().into_bytes() } else { header };
        let message = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(body));
        let signature = URL_SAFE_NO_PAD.encode(world.pair.sign(message.as_bytes()));
        let token = format!("{message}.{signature}");
        prop_assert!(world.verify(&token).is_err());
    }
}

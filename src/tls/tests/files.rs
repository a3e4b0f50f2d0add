//! Contents of files, and the errors of files that cannot be used.

use super::*;

fn error(pair: &PairFiles) -> String {
    load(pair).unwrap_err().to_string()
}

/// Returns the inner part of a PKCS#8 key as PEM under another label.
fn inside(key: &KeyPair, label: &str) -> String {
    let pkcs8 = key.serialize_der();
    let (_, sequence) = element(&pkcs8);
    let (after, _version) = element(sequence);
    let (after, _algorithm) = element(after);
    let (_, inner) = element(after);
    let text = base64_lines(inner);
    format!("-----BEGIN {label}-----\n{text}-----END {label}-----\n")
}

/// Returns the rest of some DER behind its first element, and the content of that element.
fn element(der: &[u8]) -> (&[u8], &[u8]) {
    let (len, start) = match der[1] {
        short @ 0..=0x7F => (usize::from(short), 2),
        0x81 => (usize::from(der[2]), 3),
        0x82 => (usize::from(der[2]) << 8 | usize::from(der[3]), 4),
        other => panic!("no length: {other}"),
    };
    (&der[start + len..], &der[start..start + len])
}

fn base64_lines(bytes: &[u8]) -> String {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for (i, chunk) in bytes.chunks(3).enumerate() {
        let bits =
            chunk.iter().fold(0, |bits, &b| bits << 8 | usize::from(b)) << (8 * (3 - chunk.len()));
        for digit in 0..4 {
            let index = bits >> (18 - 6 * digit) & 0x3F;
            text.push(if digit <= chunk.len() {
                ALPHABET[index].into()
            } else {
                '='
            });
        }
        if i % 16 == 15 {
            text.push('\n');
        }
    }
    text.push('\n');
    text
}

#[test]
fn keys_of_every_form_are_taken() {
    let folder = tempfile::tempdir().unwrap();
    let rsa = KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, rcgen::RsaKeySize::_2048).unwrap();
    let elliptic = KeyPair::generate().unwrap();
    let forms = [
        (&elliptic, elliptic.serialize_pem()),
        (&elliptic, inside(&elliptic, "EC PRIVATE KEY")),
        (&rsa, rsa.serialize_pem()),
        (&rsa, inside(&rsa, "RSA PRIVATE KEY")),
    ];
    for (key, text) in forms {
        let params = CertificateParams::new(["localhost".to_owned()]).unwrap();
        let cert = params.self_signed(key).unwrap().pem();
        // What else stands in a file is passed over, as openssl writes parameters of curves.
        let other =
            "-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n";
        let pair = write_pair(folder.path(), "pair", cert, format!("{other}{text}"));
        if let Err(error) = load(&pair) {
            panic!("{error}: {text}");
        }
    }
}

#[test]
fn a_certificate_and_a_key_that_do_not_fit() {
    let authority = Authority::new("authority");
    let (one, other) = (authority.localhost("one"), authority.localhost("other"));
    let mixed = PairFiles {
        cert: one.cert.clone(),
        key: other.key.clone(),
    };
    let (cert, key) = (one.cert.display(), other.key.display());
    assert_eq!(
        error(&mixed),
        format!("the certificate in {cert} does not belong to the key in {key}")
    );
    let half = PairFiles::of(Some(one.cert), None).unwrap_err();
    assert_eq!(
        half.to_string(),
        "a certificate and its key are needed, both"
    );
}

#[test]
fn files_that_cannot_be_used_are_named() {
    let authority = Authority::new("authority");
    let good = authority.localhost("good");
    let path = authority.path("bad");
    let shown = path.display();
    let as_cert = || {
        error(&PairFiles {
            cert: path.clone(),
            key: good.key.clone(),
        })
    };
    let as_key = || {
        error(&PairFiles {
            cert: good.cert.clone(),
            key: path.clone(),
        })
    };
    let as_ca = || {
        let loaded = ServerTls::new(good.clone(), Some(path.clone()));
        loaded.unwrap_err().to_string()
    };
    let assert_begins = |error: String, expected: &str| {
        assert!(error.starts_with(expected), "{error}");
    };

    let unreadable = format!("cannot read {shown}: ");
    for error in [as_cert(), as_key(), as_ca()] {
        assert_begins(error, &unreadable);
    }

    for text in ["hello\n", &fs::read_to_string(&good.key).unwrap()] {
        fs::write(&path, text).unwrap();
        let expected = format!("no certificate in {shown}: ");
        assert_begins(as_cert(), &expected);
        assert_begins(as_ca(), &expected);
    }
    fs::copy(&good.cert, &path).unwrap();
    assert_begins(as_key(), &format!("no private key in {shown}: "));

    let section = |label: &str, text: &str| {
        let pem = format!("-----BEGIN {label}-----\n{text}\n-----END {label}-----\n");
        fs::write(&path, pem).unwrap();
    };
    section("CERTIFICATE", "!");
    assert_begins(as_cert(), &format!("{shown} is not PEM: "));
    section("CERTIFICATE", "AAAA");
    let expected = format!("a certificate in {shown} cannot be used: ");
    assert_begins(as_cert(), &expected);
    assert_begins(as_ca(), &expected);
    section("PRIVATE KEY", "AAAA");
    assert_begins(
        as_key(),
        &format!("the private key in {shown} cannot be used: "),
    );

    let too_large = vec![b'\n'; 2 << 20];
    fs::write(&path, too_large).unwrap();
    assert!(as_cert().contains("larger than"), "{}", as_cert());
}

#[test]
fn encrypted_keys_are_told_from_broken_ones() {
    let authority = Authority::new("authority");
    let pair = authority.localhost("server");
    let new = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
    let old = "-----BEGIN RSA PRIVATE KEY-----\r\nProc-Type: 4,ENCRYPTED\r\nDEK-Info: \
               AES-256-CBC,00\r\n\r\nAAAA\r\n-----END RSA PRIVATE KEY-----\r\n";
    for text in [new, old] {
        fs::write(&pair.key, text).unwrap();
        let error = error(&pair);
        let expected = format!("the private key in {} is encrypted", pair.key.display());
        assert!(error.starts_with(&expected), "{error}");
        assert!(error.contains("openssl pkey"), "{error}");
    }
}

#[test]
fn a_client_needs_both_halves_too() {
    let authority = Authority::new("authority");
    let pair = authority.localhost("client");
    let mut options = ClientTlsOptions::default().ca(authority.ca());
    options.cert = Some(pair.cert);
    let error = ClientTls::new(options).unwrap_err();
    assert_eq!(
        error.to_string(),
        "a certificate and its key are needed, both"
    );
}

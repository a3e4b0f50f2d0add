//! Files as people have them, and the errors of those that are something else.

use super::*;

/// Writes a text in another way.
type Rewrite<'a> = &'a dyn Fn(&str) -> String;

/// A folder with `cert` and `key` in it.
struct TemporaryPair {
    _folder: TempDir,
    files: PairFiles,
}

impl TemporaryPair {
    fn of(cert: impl AsRef<[u8]>, key: impl AsRef<[u8]>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self {
            files: write_pair(folder.path(), "pair", cert, key),
            _folder: folder,
        }
    }

    #[track_caller]
    fn error(&self) -> String {
        let error = load(&self.files).unwrap_err().to_string();
        assert!(!error.contains(['{', '}', '[', ']']), "{error}");
        error
    }
}

#[test]
fn text_is_taken_as_editors_of_all_systems_leave_it() {
    const MARK: &str = "\u{FEFF}";
    let (cert, key) = self_signed(|_| {});
    let key = key.serialize_pem();
    let with_spaces = |text: &str| text.replace('\n', "  \n  ");
    let forms: [(&str, Rewrite<'_>); 7] = [
        ("as it is", &|text| text.to_owned()),
        ("byte order mark", &|text| format!("{MARK}{text}")),
        ("windows", &|text| text.replace('\n', "\r\n")),
        ("old mac", &|text| text.replace('\n', "\r")),
        ("all of it", &|text| {
            format!("{MARK}{}", text.replace('\n', "\r\n"))
        }),
        ("spaces", &with_spaces),
        ("text around", &|text| {
            format!("subject=x\n{text}\nthe end\n")
        }),
    ];
    for (name, form) in forms {
        let pair = TemporaryPair::of(form(&cert), form(&key));
        if let Err(error) = load(&pair.files) {
            panic!("{name}: {error}");
        }
    }
}

#[test]
fn files_put_together_lose_no_certificate() {
    let authority = Authority::new("authority");
    let pair = authority.localhost("server");
    let pem = |path: &Path| fs::read_to_string(path).unwrap();
    let (own, ca) = (pem(&pair.cert), pem(&authority.ca()));
    fs::write(&pair.cert, format!("\u{FEFF}{own}\u{FEFF}{ca}")).unwrap();
    assert_eq!(pair.read().unwrap().cert.len(), 2);
}

#[test]
fn what_is_no_pem_is_told_by_what_it_is() {
    let (cert, key) = self_signed(|_| {});
    let pem = key.serialize_pem();
    let der = key.serialize_der();
    let cut = cert.replace("-----END CERTIFICATE-----", "");
    let one_line = cert.replace('\n', "");
    let written_out = cert.replace('\n', "\\n");
    let damaged = cert.replacen("\nMII", "\nM?I", 1);
    let utf_16: Vec<u8> = "\u{FEFF}-----BEGIN"
        .encode_utf16()
        .flat_map(u16::to_le_bytes)
        .collect();
    let request = "-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n";
    let odd = "-----BEGIN MLES \u{7}-----\nAAAA\n-----END MLES \u{7}-----\n";
    for (file, expected) in [
        (&b""[..], " is empty"),
        (b"\n \r\n", " is empty"),
        (&der, "it is DER; `openssl x509 -inform der"),
        (
            b"\x30\x82\x09\x99\x02\x01\x03\x30",
            "it is PKCS#12; `openssl pkcs12 ",
        ),
        (&utf_16, "it is text in UTF-16"),
        (b"\x7fELF\0\0", "it is binary"),
        (pem.as_bytes(), "are certificate and key swapped?"),
        (request.as_bytes(), "an authority has yet to sign"),
        (odd.as_bytes(), "it has MLES \\u{7}"),
        (
            cut.as_bytes(),
            "the line -----END CERTIFICATE----- is missing",
        ),
        (one_line.as_bytes(), "goes on behind the dashes"),
        (written_out.as_bytes(), "it has \\n written out"),
        (damaged.as_bytes(), "is damaged (no base64)"),
    ] {
        let pair = TemporaryPair::of(file, &pem);
        let error = load(&pair.files).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
        assert!(
            error.contains(&pair.files.cert.display().to_string()),
            "{error}"
        );
    }
    let swapped = TemporaryPair::of(&cert, &cert).error();
    assert!(
        swapped.contains("are certificate and key swapped?"),
        "{swapped}"
    );
    let ssh = "-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----\n";
    let ssh = TemporaryPair::of(&cert, ssh).error();
    assert!(ssh.ends_with("it has a key for SSH"), "{ssh}");
    let damaged = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
    let damaged = TemporaryPair::of(&cert, damaged).error();
    assert!(damaged.contains("it is damaged, or of a kind"), "{damaged}");
}

#[test]
fn a_directory_is_told() {
    let (cert, key) = self_signed(|_| {});
    let mut pair = TemporaryPair::of(cert, key.serialize_pem());
    pair.files.key.pop();
    let error = pair.error();
    assert!(error.starts_with("cannot read "), "{error}");
    assert!(error.ends_with(": it is a directory"), "{error}");
}

#[test]
fn a_certificate_that_cannot_be_decoded_is_told_in_words() {
    let (_, key) = self_signed(|_| {});
    let text = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let error = TemporaryPair::of(text, key.serialize_pem()).error();
    assert!(
        error.ends_with("it is damaged: it cannot be decoded"),
        "{error}"
    );
}

#[test]
fn a_chain_in_the_wrong_order_is_told() {
    let authority = Authority::new("authority");
    let pair = authority.localhost("server");
    let pem = |path: &Path| fs::read_to_string(path).unwrap();
    let (own, ca) = (pem(&pair.cert), pem(&authority.ca()));
    let other = pem(&authority.localhost("other").cert);
    let warnings = |parts: &[&str]| {
        fs::write(&pair.cert, parts.concat()).unwrap();
        let tls = load(&pair).map_err(|error| error.to_string())?;
        Ok::<_, String>(tls.warnings(std::time::SystemTime::now()))
    };
    assert_eq!(warnings(&[&own]), Ok(Vec::new()));
    assert_eq!(warnings(&[&own, &ca]), Ok(Vec::new()));
    let reversed = warnings(&[&ca, &own]).unwrap_err();
    assert!(
        reversed.contains("in the wrong order: number 2 belongs to the key"),
        "{reversed}"
    );
    let [said] = warnings(&[&own, &other, &ca]).unwrap().try_into().unwrap();
    assert!(said.starts_with("certificate 2 in "), "{said}");
    // None of them is the key's.
    let strange = warnings(&[&other, &ca]).unwrap_err();
    assert!(strange.contains("does not belong to the key"), "{strange}");
}

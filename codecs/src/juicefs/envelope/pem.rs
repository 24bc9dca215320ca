//! PEM: the blocks of a text, with the headers that an old-style encrypted key has, and what such headers say. It knows no
//! key. Bodies are wiped when they are dropped.

use aes::{Aes128, Aes192, Aes256};
use base64ct::{Base64, Encoding};
use cbc::Decryptor;
use cbc::cipher::block_padding::Pkcs7;
use cbc::cipher::{BlockModeDecrypt, KeyIvInit};
use des::TdesEde3;
use md5::{Digest, Md5};
use zeroize::Zeroizing;

use super::KeyError;

/// One block of a PEM text.
pub(super) struct Block {
    pub(super) label: String,
    headers: Vec<(String, String)>,
    body: Zeroizing<Vec<u8>>,
}

/// Reads every block; whatever stands between them is a comment.
pub(super) fn blocks(text: &[u8]) -> Result<Vec<Block>, KeyError> {
    let text = str::from_utf8(text).map_err(|_| KeyError::NotPem)?;
    let mut lines = text.lines().map(str::trim);
    let mut blocks = Vec::new();
    while let Some(line) = lines.next() {
        if let Some(label) = line.strip_prefix("-----BEGIN ").and_then(|rest| rest.strip_suffix("-----")) {
            blocks.push(block(label, &mut lines)?);
        }
    }
    if blocks.is_empty() { Err(KeyError::NotPem) } else { Ok(blocks) }
}

fn block<'a>(label: &str, lines: &mut impl Iterator<Item = &'a str>) -> Result<Block, KeyError> {
    let end = format!("-----END {label}-----");
    let mut headers = Vec::new();
    let mut base64 = Zeroizing::new(String::new());
    loop {
        let line = lines.next().ok_or_else(|| KeyError::Malformed(format!("there is no line {end}")))?;
        if line == end {
            break;
        }
        match line.split_once(':') {
            Some((name, value)) => headers.push((name.trim().to_owned(), value.trim().to_owned())),
            None => base64.push_str(line),
        }
    }
    let body = Base64::decode_vec(&base64).map_err(|_| KeyError::Malformed("its lines are no base64".to_owned()))?;
    Ok(Block { label: label.to_owned(), headers, body: Zeroizing::new(body) })
}

impl Block {
    /// Whether headers say that the body is encrypted.
    pub(super) fn is_protected(&self) -> bool {
        self.header("Proc-Type").is_some_and(|kind| kind.contains("ENCRYPTED"))
    }

    /// The body, decrypted where headers say that it is encrypted.
    pub(super) fn open(mut self, passphrase: Option<&[u8]>) -> Result<Zeroizing<Vec<u8>>, KeyError> {
        if !self.is_protected() {
            return Ok(self.body);
        }
        let passphrase = passphrase.ok_or(KeyError::NeedsPassphrase)?;
        let info = self.header("DEK-Info").ok_or_else(|| KeyError::Malformed("it has no DEK-Info".to_owned()))?;
        let (cipher, iv) = info.split_once(',').unwrap_or((info, ""));
        let iv = hex(iv).ok_or_else(|| KeyError::Malformed(format!("DEK-Info: {info}")))?;
        let decrypt = match cipher {
            "AES-128-CBC" => decrypt::<Decryptor<Aes128>, 16>,
            "AES-192-CBC" => decrypt::<Decryptor<Aes192>, 24>,
            "AES-256-CBC" => decrypt::<Decryptor<Aes256>, 32>,
            "DES-EDE3-CBC" => decrypt::<Decryptor<TdesEde3>, 24>,
            other => return Err(KeyError::Unsupported(format!("it is encrypted with {other}"))),
        };
        let length = decrypt(&mut self.body, passphrase, &iv)?;
        self.body.truncate(length);
        Ok(self.body)
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }
}

/// Decrypts in place and says how much of it is not padding.
fn decrypt<C, const KEY: usize>(body: &mut [u8], passphrase: &[u8], iv: &[u8]) -> Result<usize, KeyError>
where
    C: BlockModeDecrypt + KeyIvInit,
{
    let malformed = || KeyError::Malformed("the length of the DEK-Info's number is wrong".to_owned());
    let salt = iv.first_chunk().ok_or_else(malformed)?;
    let key = derive::<KEY>(passphrase, salt);
    let cipher = C::new_from_slices(key.as_slice(), iv).map_err(|_| malformed())?;
    Ok(cipher.decrypt_padded::<Pkcs7>(body).map_err(|_| KeyError::WrongPassphrase)?.len())
}

/// OpenSSL's `EVP_BytesToKey` with MD5 and one round.
fn derive<const KEY: usize>(passphrase: &[u8], salt: &[u8; 8]) -> Zeroizing<[u8; KEY]> {
    let mut key = Zeroizing::new([0; KEY]);
    let mut last: Zeroizing<Vec<u8>> = Zeroizing::default();
    for part in key.chunks_mut(16) {
        let digest = Md5::new().chain_update(last.as_slice()).chain_update(passphrase).chain_update(salt).finalize();
        *last = digest.to_vec();
        part.iter_mut().zip(last.iter()).for_each(|(to, from)| *to = *from);
    }
    key
}

fn hex(text: &str) -> Option<Vec<u8>> {
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    let digit = |byte: &u8| char::from(*byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let byte = |[high, low]: &[u8; 2]| Some(digit(high)? << 4 | digit(low)?);
    if rest.is_empty() { pairs.iter().map(byte).collect() } else { None }
}

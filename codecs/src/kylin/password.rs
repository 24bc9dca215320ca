//! A password as Kylin's configuration writes it (`EncryptUtil`): in the clear, or `ENC('…')`, which is base64 of AES-128-ECB
//! under a key that is in Kylin's source. It hides a password from a glance, and from nothing else.

use aes::cipher::{Array, BlockCipherDecrypt, KeyInit};
use aes::{Aes128, Block};
use base64ct::{Base64, Encoding};
use zeroize::Zeroizing;

use crate::{Error, Result};

const WHAT: &str = "encrypted password";
const KEY: &[u8; 16] = b"thisIsASecretKey";
const BLOCK_BYTES: usize = 16;

/// The password that `written` stands for: itself, unless it is `ENC('…')`.
///
/// # Errors
/// An `ENC('…')` that Kylin did not make. The text names neither form.
pub fn open(written: &str) -> Result<Zeroizing<String>> {
    let Some(sealed) = written.strip_prefix("ENC('").and_then(|rest| rest.strip_suffix("')")) else {
        return Ok(Zeroizing::new(written.to_owned()));
    };
    let sealed = Base64::decode_vec(sealed).map_err(|_| Error::malformed(WHAT, "it is no base64"))?;
    let mut bytes = decrypt(&sealed)?;
    let length = unpadded(&bytes).ok_or_else(|| Error::malformed(WHAT, "its padding is wrong"))?;
    bytes.truncate(length);
    let text = std::str::from_utf8(&bytes).map_err(|_| Error::malformed(WHAT, "it is no UTF-8"))?;
    Ok(Zeroizing::new(text.to_owned()))
}

fn decrypt(sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>> {
    let (blocks, rest) = sealed.as_chunks::<BLOCK_BYTES>();
    if blocks.is_empty() || !rest.is_empty() {
        return Err(Error::Truncated(WHAT));
    }
    let cipher = Aes128::new(&Array::from(*KEY));
    let mut bytes = Zeroizing::new(Vec::with_capacity(sealed.len()));
    for block in blocks {
        let mut block = Block::from(*block);
        cipher.decrypt_block(&mut block);
        bytes.extend_from_slice(&block);
    }
    Ok(bytes)
}

/// The length without padding (PKCS 7).
fn unpadded(bytes: &[u8]) -> Option<usize> {
    let count = usize::from(*bytes.last()?);
    let (text, padding) = bytes.split_at_checked(bytes.len().checked_sub(count)?)?;
    let right = (1..=BLOCK_BYTES).contains(&count) && padding.iter().all(|byte| usize::from(*byte) == count);
    right.then_some(text.len())
}

#[cfg(test)]
mod tests {
    use aes::cipher::BlockCipherEncrypt;
    use proptest::prelude::*;

    use super::*;

    fn seal(text: &str) -> String {
        let mut bytes = text.as_bytes().to_vec();
        let count = BLOCK_BYTES - bytes.len() % BLOCK_BYTES;
        bytes.resize(bytes.len() + count, count as u8);
        let cipher = Aes128::new(&Array::from(*KEY));
        for chunk in bytes.as_chunks_mut::<BLOCK_BYTES>().0 {
            let mut block = Block::from(*chunk);
            cipher.encrypt_block(&mut block);
            chunk.copy_from_slice(&block);
        }
        format!("ENC('{}')", Base64::encode_string(&bytes))
    }

    #[test]
    fn what_kylin_encrypted_is_opened() {
        assert_eq!(*open("ENC('YeqVr9MakSFbgxEec9sBwg==')").unwrap(), "kylin");
        assert_eq!(seal("kylin"), "ENC('YeqVr9MakSFbgxEec9sBwg==')");
    }

    #[test]
    fn what_is_not_encrypted_is_itself() {
        for text in ["", "kylin", "ENC(", "ENC('x'", "enc('YeqVr9MakSFbgxEec9sBwg==')", "xENC('')"] {
            assert_eq!(*open(text).unwrap(), text);
        }
    }

    #[test]
    fn what_kylin_did_not_encrypt_is_refused_and_not_shown() {
        assert_eq!(open("ENC('')"), Err(Error::Truncated(WHAT)));
        assert_eq!(open("ENC('YeqVr9Ma')"), Err(Error::Truncated(WHAT)));
        for text in ["ENC('secret!')", "ENC('AAAAAAAAAAAAAAAAAAAAAA==')"] {
            let told = open(text).unwrap_err().to_string();
            assert!(told.starts_with("malformed encrypted password") && !told.contains("secret"), "{told}");
        }
    }

    proptest! {
        #[test]
        fn every_text_opens_again(text in ".*") {
            prop_assert_eq!(&*open(&seal(&text)).unwrap(), &text);
        }

        #[test]
        fn no_input_panics(text in ".*") {
            drop(open(&text));
            drop(open(&format!("ENC('{text}')")));
        }
    }
}

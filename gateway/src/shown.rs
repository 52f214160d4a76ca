//! How the holder of a session showed who they are.

use aggregates::user::{Checked, SecondFactor};

/// What a session began with. The numbers stand in refresh tokens: add, never change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Shown {
    Password = 0,
    /// And a one-time code, or a recovery code in its place.
    PasswordAndCode = 1,
    PasswordAndPasskey = 2,
    Passkey = 3,
    /// And a code that was mailed: it proves the mailbox, by which the password could be reset too. No second factor.
    PasswordAndMailedCode = 4,
}

impl Shown {
    const ALL: [Self; 5] = [
        Self::Password,
        Self::PasswordAndCode,
        Self::PasswordAndPasskey,
        Self::Passkey,
        Self::PasswordAndMailedCode,
    ];

    pub fn of(checked: &Checked, second_factor: Option<&SecondFactor>) -> Self {
        match (checked, second_factor) {
            (Checked::Passkey(_), _) => Self::Passkey,
            (Checked::Password(_), Some(SecondFactor::Passkey(_))) => Self::PasswordAndPasskey,
            (Checked::Password(_), Some(SecondFactor::Totp(_) | SecondFactor::RecoveryCode(_))) => {
                Self::PasswordAndCode
            }
            (Checked::Password(_), Some(SecondFactor::MailedCode { .. })) => Self::PasswordAndMailedCode,
            (Checked::Password(_), None) => Self::Password,
        }
    }

    pub fn number(self) -> u8 {
        self as u8
    }

    /// `None`: it is no such number.
    pub fn of_number(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|shown| shown.number() == number)
    }

    /// As tokens tell it (RFC 8176). An authenticator signs for whom it has recognised (`user`), with a key that may be
    /// hardware's or not (`pop`): whether it is, is not asked for.
    pub fn methods(self) -> &'static [&'static str] {
        match self {
            Self::Password => &["pwd"],
            Self::PasswordAndCode => &["pwd", "otp", "mfa"],
            Self::PasswordAndPasskey => &["pwd", "pop", "user", "mfa"],
            Self::Passkey => &["pop", "user", "mfa"],
            Self::PasswordAndMailedCode => &["pwd", "otp"],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_known_by_its_number_again_and_a_mailed_code_is_no_second_factor() {
        for shown in Shown::ALL {
            assert_eq!(Shown::of_number(shown.number()), Some(shown));
            let one_factor = matches!(shown, Shown::Password | Shown::PasswordAndMailedCode);
            assert_eq!(shown.methods().contains(&"mfa"), !one_factor);
        }
        assert_eq!(Shown::of_number(5), None);
    }
}

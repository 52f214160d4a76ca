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
    /// A tenant's provider vouched for them.
    Sso = 5,
    /// And for a second factor, which the tenant trusts it with.
    SsoAndItsFactor = 6,
    /// And a one-time code of ours, or a recovery code in its place.
    SsoAndCode = 7,
    SsoAndPasskey = 8,
}

impl Shown {
    const ALL: [Self; 9] = [
        Self::Password,
        Self::PasswordAndCode,
        Self::PasswordAndPasskey,
        Self::Passkey,
        Self::PasswordAndMailedCode,
        Self::Sso,
        Self::SsoAndItsFactor,
        Self::SsoAndCode,
        Self::SsoAndPasskey,
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
            (Checked::Sso { .. }, Some(SecondFactor::Passkey(_))) => Self::SsoAndPasskey,
            (Checked::Sso { .. }, Some(SecondFactor::Totp(_) | SecondFactor::RecoveryCode(_))) => {
                Self::SsoAndCode
            }
            (Checked::Sso { second_factor: true }, _) => Self::SsoAndItsFactor,
            (Checked::Sso { second_factor: false }, _) => Self::Sso,
        }
    }

    pub fn number(self) -> u8 {
        self as u8
    }

    /// `None`: it is no such number.
    pub fn of_number(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|shown| shown.number() == number)
    }

    /// True if a tenant's provider vouched for them.
    pub fn is_by_sso(self) -> bool {
        matches!(self, Self::Sso | Self::SsoAndItsFactor | Self::SsoAndCode | Self::SsoAndPasskey)
    }

    /// As tokens tell it (RFC 8176; `sso` is ours). An authenticator signs for whom it has recognised (`user`), with a key that may be
    /// hardware's or not (`pop`): whether it is, is not asked for.
    pub fn methods(self) -> &'static [&'static str] {
        match self {
            Self::Password => &["pwd"],
            Self::PasswordAndCode => &["pwd", "otp", "mfa"],
            Self::PasswordAndPasskey => &["pwd", "pop", "user", "mfa"],
            Self::Passkey => &["pop", "user", "mfa"],
            Self::PasswordAndMailedCode => &["pwd", "otp"],
            Self::Sso => &["sso"],
            Self::SsoAndItsFactor => &["sso", "mfa"],
            Self::SsoAndCode => &["sso", "otp", "mfa"],
            Self::SsoAndPasskey => &["sso", "pop", "user", "mfa"],
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
            let one_factor = matches!(shown, Shown::Password | Shown::PasswordAndMailedCode | Shown::Sso);
            assert_eq!(shown.methods().contains(&"sso"), shown.is_by_sso());
            assert_eq!(shown.methods().contains(&"mfa"), !one_factor);
        }
        assert_eq!(Shown::of_number(9), None);
    }
}

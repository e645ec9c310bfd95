//! What counts as a telephone number, and what does not.

use super::super::testing::found;
use super::*;

#[track_caller]
fn phones(text: &str, expected: &[&str]) {
    let mut spans = Vec::new();
    find(text, false, &mut spans);
    assert_eq!(found(text, &merge(spans)), expected, "{text}");
}

#[test]
fn numbers_are_found_as_they_are_written_around_the_world() {
    for phone in [
        "+1 415 555 2671",
        "+1 (415) 555-2671",
        "+1.4155552671",
        "+14155552671",
        "+49 (0) 151 1234567",
        "+49 151/1234-567",
        "+44 20 7946 0958",
        "+33 6 12 34 56 78",
        "+86 138 1234 5678",
        "+7 (916) 123-45-67",
        "+55 11 91234-5678",
        "+380 44 123 45 67",
        "+34 612 345 678",
        "0049 151 1234567",
        "0044 20 7946 0958",
        "0151 12345678",
        "030/1234567",
        "(030) 123 456",
        "(020) 7946 0958",
        "01 23 45 67 89",
        "06.12.34.56.78",
        "0612345678",
        "03-1234-5678",
        "09012345678",
        "010-1234-5678",
        "(415) 555-2671",
        "415-555-2671",
        "415.555.2671",
        "415 555 2671",
        "1-800-555-0199",
        "138 1234 5678",
        "13812345678",
        "98765 43210",
        "(11) 91234-5678",
        "11 91234-5678",
        "8 (916) 123-45-67",
        "916 123-45-67",
        "612 34 56 78",
    ] {
        phones(phone, &[phone]);
        phones(&format!("Ring {phone}, please."), &[phone]);
        phones(&format!("我的是{phone}。"), &[phone]);
        phones(&format!("at\t{phone}\n12"), &[phone]);
    }
}

#[test]
fn no_layout_has_more_groups_than_are_looked_at() {
    let groups = LAYOUTS.iter().map(|layout| layout.lengths.len());
    assert_eq!(groups.max(), Some(MOST_LAID_OUT));
}

#[test]
fn after_a_word_for_it_any_number_is_a_telephone() {
    for (text, phone) in [
        ("Phone: 4155552671", "4155552671"),
        ("call me at 555-2671", "555-2671"),
        ("my phone number is 22 33 44 55", "22 33 44 55"),
        ("tel:9123-4567", "9123-4567"),
        ("Tel.0151/1234567", "0151/1234567"),
        ("\"mobile\": \"612345678\"", "612345678"),
        ("user_phone=4155552671", "4155552671"),
        ("电话：5551234567", "5551234567"),
        ("WhatsApp 555 12 34", "555 12 34"),
    ] {
        phones(text, &[phone]);
    }
    assert!(
        is_telephone("phone")
            && is_telephone("homePhone")
            && is_telephone("phone_number")
            && is_telephone("mobile")
    );
    assert!(!is_telephone("hotel") && !is_telephone("order") && !is_telephone("callback_id"));
}

#[test]
fn a_number_is_found_among_other_numbers() {
    phones("12 0151 1234567", &["0151 1234567"]);
    phones("+1 415 555 2671 30 times", &["+1 415 555 2671"]);
    phones("0151 1234567\n2024-11-22", &["0151 1234567"]);
    phones("+44 20 7946 0958 2024-11-22", &["+44 20 7946 0958"]);
    phones("+0151 1234567", &["0151 1234567"]);
    let two = "+49 151 1234567 (415) 555-2671";
    phones(two, &[two]);
    phones("415-555-2671 x12", &["415-555-2671"]);
    phones(
        "415-555-2671, 415-555-2672",
        &["415-555-2671", "415-555-2672"],
    );
}

#[test]
fn prices_dates_versions_and_other_numbers_are_no_telephones() {
    for text in [
        "1,234,567.89",
        "$4155552671",
        "1 234 567,00 €",
        "2024-11-22",
        "2024-11-22T10:15:30+01:00",
        "22.11.2024 10:30",
        "05-11-2024 10:30",
        "05/11/2024 1234",
        "20241122101530",
        "1732233600",
        "1732233600000",
        "1.2.3",
        "10.0.19045.3086",
        "192.168.1.100",
        "010.020.030.040",
        "order 10024558213",
        "#15829347712",
        "INV-0123456789",
        "2024-0123-456789",
        "550e8400-e29b-41d4-a716-446655440000",
        "01234567-0123-0123-0123-012345678901",
        "DE89 3704 0044 0532 0130 00",
        "978-3-16-148410-0",
        "123-45-6789",
        "02139-4307",
        "00-11-22-33-44-55",
        "4111 1111 1111 1112",
        "+37.7749295, -122.4194155",
        "2+12345678",
        "0x0123456789",
        "0123456789abcdef",
        "12:30:45",
        "3.141592653589793",
        "call 12 times",
        "hotel 1234567 rooms",
        "function call 0123",
        "port 8080",
    ] {
        phones(text, &[]);
    }
}

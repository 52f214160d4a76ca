#!/usr/bin/perl
# Unpacks a zip archive with what every Debian has, perl-base and gzip: for machines without python3 and unzip.
# A deflated entry is what stands in a gzip file between header and trailer, so gzip also checks size and sum.
# Usage: unzip.pl ARCHIVE DIRECTORY
use strict;
use warnings;

my ($archive, $target) = @ARGV;
die "usage: unzip.pl ARCHIVE DIRECTORY\n" unless defined $target;
open(my $zip, '<:raw', $archive) or die "$archive: $!\n";

sub read_at {
    my ($offset, $length) = @_;
    return '' if $length == 0;
    seek($zip, $offset, 0) or die "$archive: $!\n";
    my $got = read($zip, my $bytes, $length);
    die "$archive ends too early\n" unless defined $got && $got == $length;
    return $bytes;
}

# The end record stands last, before a comment of at most 65,535 bytes.
my $size = -s $zip;
my $tail_length = $size < 65_557 ? $size : 65_557;
my $tail = read_at($size - $tail_length, $tail_length);
my $end = rindex($tail, "PK\5\6");
die "$archive is no zip archive\n" if $end < 0;
my ($count, $directory_length, $directory_at) = unpack('x10 v V V', substr($tail, $end));
die "$archive is too large for this script (zip64)\n" if $count == 0xFFFF || $directory_at == 0xFFFFFFFF;

my $directory = read_at($directory_at, $directory_length);
my $place = 0;
for (1 .. $count) {
    my ($signature, $method, $sum, $packed, $length, $name_length, $extra_length, $comment_length, $at) =
        unpack('a4 x6 v x4 V V V v v v x8 V', substr($directory, $place, 46));
    die "$archive: its directory is damaged\n" unless $signature eq "PK\1\2";
    my $name = substr($directory, $place + 46, $name_length);
    $place += 46 + $name_length + $extra_length + $comment_length;
    die "$archive: the entry $name would leave $target\n" if $name =~ m{^/|(^|/)\.\.(/|$)};

    my $path = $target;
    my @parts = split m{/}, $name;
    my $file = $name =~ m{/$} ? undef : pop @parts;
    for my $part (@parts) {
        $path .= "/$part";
        -d $path or mkdir($path) or die "$path: $!\n";
    }
    next unless defined $file;
    $path .= "/$file";

    my ($local_name, $local_extra) = unpack('x26 v v', read_at($at, 30));
    my $data = read_at($at + 30 + $local_name + $local_extra, $packed);
    if ($method == 0) {
        open(my $out, '>:raw', $path) or die "$path: $!\n";
        print {$out} $data or die "$path: $!\n";
        close($out) or die "$path: $!\n";
    } elsif ($method == 8) {
        open(my $gzip, '|-:raw', 'sh', '-c', 'exec gzip -dc >"$0"', $path) or die "gzip: $!\n";
        print {$gzip} pack('C10', 0x1f, 0x8b, 8, (0) x 6, 255), $data, pack('V V', $sum, $length) or die "gzip: $!\n";
        close($gzip) or die "$archive: the entry $name is damaged\n";
    } else {
        die "$archive: the entry $name is packed in a way this script does not know ($method)\n";
    }
}

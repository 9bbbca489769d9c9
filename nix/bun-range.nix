# Versions of Bun that make a latchkey which works. 1.3.12 writes binaries that do not start under Nix, and 1.3.14 such that crash
# (oven-sh/bun issues 29290 and 31023); 1.4.5 is what latchkey is built and tested with; none older was tried.
{ lib }:
rec {
  oldest = "1.4.5";
  next = "1.5.0";
  has = bun: lib.versionAtLeast bun.version oldest && lib.versionOlder bun.version next;
}

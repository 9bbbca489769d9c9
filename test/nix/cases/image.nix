{
  lib,
  libPath,
  system,
  plainRoot,
  withRoot,
  withOptions,
  equal,
  fine,
  ...
}:
let
  plain = system plainRoot;
  initrd = evaluated: evaluated.config.boot.initrd;
  paths = evaluated: map (path: path.source) (initrd evaluated).systemd.storePaths;
  drivers = evaluated: (initrd evaluated).availableKernelModules;
  hasAll = wanted: list: lib.filter (one: !(lib.elem one list)) wanted;
  token = withOptions { volumes.root.clevis.token = "/t.jwe"; };
  tangOnly = withOptions {
    volumes.root.clevis = {
      token = "/t.jwe";
      tpm = false;
      network = true;
    };
  };
  stick = withOptions {
    volumes.root.usb = [
      {
        uuid = "4F2A-99C1";
        path = "k";
        sha256 = lib.concatStrings (lib.genList (_: "0f") 32);
      }
    ];
  };
  luks = withRoot { boot.initrd.luks.devices.crypt.device = "/dev/sda2"; };
  olderRelease = import ../eval.nix {
    inherit libPath;
    version = "25.05";
  } { modules = [ ../../../nix/module.nix plainRoot ]; };
  ownNetwork = withRoot {
    boot.initrd.network.enable = false;
    boot.initrd.systemd.network.enable = true;
    boot.initrd.latchkey.volumes.root.clevis = {
      token = "/t.jwe";
      network = true;
    };
  };
in
{
  "the program is in /bin" =
    equal (initrd plain).systemd.extraBin.latchkey "/nix/store/00000000000000000000000000000000-latchkey/bin/latchkey";
  "glibc's libraries are named, since nobody sees what bun:ffi opens" = equal (hasAll (map (name: "/nix/store/00000000000000000000000000000000-glibc/lib/${name}") [
    "libc.so.6"
    "libm.so.6"
    "libpthread.so.0"
    "libdl.so.2"
  ]) (paths plain)) [ ];
  "cryptsetup comes with LUKS only" = equal [
    ((initrd plain).systemd.extraBin ? cryptsetup)
    ((initrd luks).systemd.extraBin ? cryptsetup)
  ] [ false true ];
  "a question alone needs no drivers and no network" = equal [
    (drivers plain)
    (initrd plain).network.enable
  ] [ [ ] false ];
  "a token needs a TPM" = equal (drivers token) [
    "tpm_tis"
    "tpm_crb"
  ];
  "a Tang token needs a network and no TPM" = equal [
    (drivers tangOnly)
    (initrd tangOnly).network.enable
  ] [ [ ] true ];
  "networks of one's own are left alone" = equal [
    ownNetwork.failed
    (initrd ownNetwork).network.enable
  ] [ [ ] false ];
  "a stick needs USB drivers and FAT" = equal (hasAll [
    "usb_storage"
    "uas"
    "xhci_pci"
    "vfat"
  ] (drivers stick)) [ ];
  "older ones are told not to" = equal olderRelease.config.boot.initrd.systemd.strip false;
  "in newer releases the option is not touched" = equal plain.config.boot.initrd.systemd.strip "untouched";
  "the command is there on the running system" = equal (map (package: package.name) plain.config.environment.systemPackages) [ "latchkey" ];
}

# Examples for disko (github.com/nix-community/disko), of the interface it had in March 2026.
{
  single-disk = ./single-disk.nix;
  two-disks = ./two-disks.nix;
  impermanence = ./impermanence.nix;
  luks-pool = ./luks-pool.nix;
}

# An evaluated unit as the text of its file.
{ lib }:
let
  value = v: if v == true then "true" else if v == false then "false" else toString v;
  section =
    name: settings:
    let
      lines = lib.concatLists (
        lib.mapAttrsToList (key: v: map (one: "${key}=${value one}") (lib.flatten [ v ])) settings
      );
    in
    lib.optionalString (lines != [ ]) ("[${name}]\n" + lib.concatStringsSep "\n" lines + "\n");
  words = lib.concatStringsSep " ";
  relations = {
    After = "after";
    Before = "before";
    Requires = "requires";
    Wants = "wants";
    BindsTo = "bindsTo";
    PartOf = "partOf";
    Conflicts = "conflicts";
    Requisite = "requisite";
    OnFailure = "onFailure";
    OnSuccess = "onSuccess";
    Documentation = "documentation";
  };
  named = unit: lib.concatMapAttrs (key: from: lib.optionalAttrs (unit.${from} != [ ]) { ${key} = words unit.${from}; });
  head =
    unit:
    section "Unit" (
      lib.optionalAttrs (unit.description != "") { Description = unit.description; }
      // named unit relations
      // unit.unitConfig
    );
  # NixOS makes links of these; here they can be read.
  install =
    unit:
    section "Install" (
      named unit {
        WantedBy = "wantedBy";
        RequiredBy = "requiredBy";
      }
    );
in
{
  service =
    unit:
    head unit
    + section "Service" (
      lib.optionalAttrs (unit.environment != { }) {
        Environment = lib.mapAttrsToList (key: v: builtins.toJSON "${key}=${v}") (
          lib.filterAttrs (_: v: v != null) unit.environment
        );
      }
      // lib.optionalAttrs (unit.script != "") { ExecStart = "<script>"; }
      // unit.serviceConfig
    )
    + install unit;
  target = unit: head unit + install unit;
  socket = unit: head unit + section "Socket" unit.socketConfig + install unit;
  path = unit: head unit + section "Path" unit.pathConfig + install unit;
}

"""Faults: workflows and their schemas."""

from __future__ import annotations

from knouds_harness.sandbox.faults.table import Subtle, Table

FAULTS: Table = {
    "workflows.create-requires-name": {
        "create-without-name-accepted": "A workflow without a name is created.",
    },
    "workflows.free-capped-at-one": {
        "create-free-uncapped": "A free account creates more than one workflow.",
        "create-free-capped-at-two": Subtle("A free account may have two workflows."),
        "create-free-cap-is-late": Subtle("Creates at once of a free account pass its cap together."),
    },
    "workflows.get-round-trips": {
        "create-refuses-what-get-shows": Subtle("Create refuses a document with updatedAt."),
        "workflows-positions-rounded": Subtle("Positions of nodes are shown rounded."),
        "create-cuts-description": Subtle("Create keeps 200 characters of a description."),
        "workflows-name-escaped": Subtle("Names are shown escaped for HTML."),
        "create-drops-empty-data": Subtle("Create keeps no null, false, zero or empty data of nodes."),
        "create-name-keeps-ascii": Subtle("Create keeps no letters of a name but those of ASCII."),
        "workflows-data-escaped": Subtle("Texts in the data of nodes are shown escaped for HTML."),
        "workflows-data-left-out": Subtle("The data of nodes is not shown."),
        "workflows-three-edges-at-most": Subtle("No more than three edges of a workflow are shown."),
        "workflows-last-edge-left-out": Subtle("The last edge of a workflow is not shown."),
    },
    "workflows.creator-owns": {
        "create-gives-away": Subtle("A new workflow is owned by whom the body names."),
        "create-believes-created-by": Subtle("Create takes createdBy from the body."),
        "workflows-document-names-another-creator": "createdBy is someone else.",
        "update-believes-created-by": Subtle("Update takes createdBy from the body."),
    },
    "workflows.create-makes-slug-from-name": {
        "create-slug-keeps-capitals": "A new slug keeps the name's capitals.",
        "create-slug-lacks-digits": Subtle("A new slug leaves the digits of the name out."),
        "create-believes-slug": Subtle("A new slug is the one in the body, where one stands there."),
    },
    "workflows.slug-charset": {
        "create-slug-with-underscores": "A new slug has underscores.",
        "create-slug-keeps-underscores": Subtle("A new slug keeps the underscores of the name."),
    },
    "workflows.create-suffixes-taken-slug": {
        "create-suffixes-from-1": Subtle("The first suffix of a taken slug is -1."),
        "create-suffixes-without-hyphen": "The suffix of a taken slug has no hyphen.",
        "create-twins-share-a-slug": Subtle(
            "Of creates of one name at once, the later takes the slug of the earlier."
        ),
        "create-suffixes-skip-3": Subtle("After the suffix -2 comes -4."),
        "create-refuses-foreign-namesake": Subtle("The name of another account's workflow is a 409."),
    },
    "workflows.update-takes-subset": {
        "update-cannot-empty-tags": Subtle("An update without any tag leaves the tags as they were."),
        "update-cannot-empty-description": Subtle("An update leaves a description that it would empty."),
        "update-merges-nodes": Subtle("An update keeps the nodes that it does not name."),
        "update-withdraws-from-the-public": Subtle("An update that does not publish the workflow hides it."),
        "update-moves-to-the-root": Subtle("An update takes the workflow out of its folder."),
        "update-resets-what-is-left-out": Subtle(
            "Update empties the tags and description that it is not given."
        ),
        "update-ignores-description": "Update does not change the description.",
        "update-refused-in-part": Subtle("A refused update keeps the description that came with it."),
        "update-overwrites-update": Subtle("An update undoes those that came while it was under way."),
        "update-drops-the-last-tag": Subtle("Update drops the last tag unless it is given tags."),
    },
    "workflows.slug-never-changes": {
        "update-makes-slug-anew": "A new name makes a new slug.",
        "update-believes-slug": Subtle("Update takes the slug from the body."),
    },
    "workflows.move-sets-folder": {
        "move-leaves-a-copy": Subtle("A move makes a copy of the workflow."),
        "move-changes-nothing": "Move leaves the folder alone.",
        "move-to-root-ignored": Subtle("Move to the root leaves the folder alone."),
        "update-overwrites-move": Subtle("An update undoes a move that came while it was under way."),
        "move-empties-description": Subtle("Move empties the description."),
    },
    "workflows.delete-then-404": {
        "delete-keeps-the-workflow": "A deleted workflow is still there.",
        "delete-keeps-what-ran": Subtle("A deleted workflow that was run before can still be run."),
        "update-revives-deleted": Subtle("A workflow that is deleted during an update comes back."),
    },
    "workflows.foreign-write-is-refused": {
        "write-to-foreign-accepted": "Anyone may write to any workflow.",
        "write-to-foreign-template-accepted": Subtle("Anyone may write to a template."),
        "write-to-foreign-folder-accepted": Subtle("Anyone may move any workflow."),
        "write-to-foreign-refused-and-done": Subtle(
            "A refused write to someone else's workflow changes its description."
        ),
    },
    "workflows.admin-does-not-own": {
        "write-to-foreign-by-admin-accepted": Subtle("An administrator may write to any workflow."),
    },
    "workflows.list-is-array": {
        "workflows-list-in-object": "The list comes in an object.",
    },
    "workflows.list-own-and-templates": {
        "delete-takes-the-second": Subtle("With a workflow the one of the same slug with -2 is deleted."),
        "workflows-list-shows-all-to-admins": Subtle("An administrator's list holds everybody's workflows."),
        "workflows-list-repeats-templates": Subtle("Templates are listed twice."),
        "workflows-list-lacks-templates": "The list leaves other people's templates out.",
        "workflows-list-shows-foreign": "The list shows everyone's workflows.",
        "workflows-list-shows-foreign-public": Subtle("The list shows other people's public playgrounds."),
    },
    "workflows.summary-fields": {
        "workflows-summary-lacks-folder": "A summary has no folderId.",
        "workflows-summary-lacks-the-creator": Subtle("A summary's createdBy is null."),
        "workflows-summary-describes-by-name": Subtle("A summary's description is the workflow's name."),
        "workflows-summary-tags-as-text": "A summary's tags are one text.",
        "workflows-summary-template-as-number": "A summary's isTemplate is a number.",
    },
    "workflows.summary-cost-is-number-or-null": {
        "workflows-summary-cost-as-text": "A summary's cost is a text.",
        "workflows-summary-cost-always-null": Subtle("A summary's cost is null, with generator nodes too."),
    },
    "workflows.updated-at-is-iso": {
        "workflows-summary-updated-at-epoch": "A summary's updatedAt is a number.",
        "workflows-document-updated-at-epoch": "A workflow's updatedAt is a number.",
    },
    "workflows.document-shape": {
        "workflows-get-in-object": "A workflow comes in an object.",
        "workflows-document-lacks-created-by": "A workflow has no createdBy.",
    },
    "workflows.viewport-shape": {
        "workflows-viewport-as-list": "The viewport is a list.",
    },
    "workflows.node-shape": {
        "workflows-node-lacks-position": "A node has no position.",
        "workflows-node-id-as-number": "A node's id is a number.",
    },
    "workflows.edge-shape": {
        "workflows-edge-lacks-handle": "An edge has no targetHandle.",
    },
    "workflows.unknown-is-404": {
        "workflows-unknown-is-400": "An unknown workflow is a 400 on read.",
    },
    "schema.fields-have-name-and-type": {
        "schema-field-lacks-type": "A field has no type.",
        "schema-field-lacks-name": "A field has no name.",
    },
    "schema.empty-without-request-input": {
        "schema-fields-null-without-input": "fields is null without a Request Input node.",
    },
    "schema.shape": {
        "schema-lacks-values": "A schema has no values.",
        "schema-lacks-cost": "A schema has no estimatedCreditCost.",
        "schema-cost-as-text": "A schema's estimatedCreditCost is a text.",
    },
    "schema.public-shape-without-cost": {
        "schema-public-with-cost": "The public schema shows the cost.",
        "schema-public-lacks-fields": "The public schema has no fields.",
        "schema-public-lacks-the-last-field": Subtle("The public schema leaves the last field out."),
    },
    "schema.public-only-when-public": {
        "schema-public-of-private": "Every workflow has a public schema.",
        "schema-public-of-private-with-a-key": Subtle(
            "Who sends a key reads the public schema of a private workflow."
        ),
        "schema-public-of-templates": Subtle("Templates have a public schema, public or not."),
    },
    "schema.unknown-is-404": {
        "schema-of-unknown-is-empty": "The schema of an unknown workflow is an empty one.",
    },
}

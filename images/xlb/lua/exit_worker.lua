require("xlb.sync").stop()

require("xlb.sync").start()
